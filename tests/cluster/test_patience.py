"""How long a head waits for whom; its clock is the test's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from polyexec_zmq import _wire as wire
from polyexec_zmq._head import BEAT, Head
from polyexec_zmq._versions import versions

if TYPE_CHECKING:
    from polyexec_zmq._members import HeadMember

LEASE = 20.0


class Driven:
    """A head, and what it has sent to whom."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, int]] = []
        self.head = Head(self._note, lease=LEASE, versions=versions())
        self.head.look(0.0)

    def _note(self, member: HeadMember, letter: list[Any]) -> None:
        self.sent.append((member.rid, wire.HEAD.unpack(letter[0])[0]))

    def joins(
        self, member: int, now: float, *, rid: bytes = b"", key: str = "its key", **changes: Any
    ) -> None:
        """Have a node say hello."""
        hello = {"role": "node", "member": member, "name": f"{member}", "stations": []}
        frames = wire.letter(wire.HELLO, 0, 0, wire.to_json({**hello, **versions(), **changes}))
        self.head.receive(rid or b"%d" % member, frames, now, lambda: key)

    def speaks(self, rid: bytes, now: float) -> list[Any] | None:
        """Have somebody give a sign of life; return what a stranger is answered."""
        return self.head.receive(rid, wire.letter(wire.PING), now, lambda: "its key")

    def nodes_at(self, now: float) -> list[int]:
        """Return which nodes there are, once the head has looked."""
        self.head.look(now)
        return sorted(node.id for node in self.head.nodes())


@pytest.fixture
def driven() -> Driven:
    """Return a head."""
    return Driven()


def test_that_the_head_stood_still_is_held_against_nobody(driven: Driven) -> None:
    driven.joins(1, 0.0)
    assert driven.nodes_at(1000.0) == [1]
    assert driven.nodes_at(1004.0) == [1]


def test_who_speaks_as_the_head_goes_on_has_no_more_time_than_others(driven: Driven) -> None:
    driven.joins(1, 0.0)
    driven.speaks(b"1", 1000.0)
    assert driven.nodes_at(1000.0) == [1]
    for late in range(1, 20):
        assert driven.nodes_at(1000.0 + late) == [1]
    driven.nodes_at(1000.0 + LEASE)
    assert driven.nodes_at(1001.0 + LEASE) == []


@pytest.mark.parametrize("pause", [1.5, 3.0, 7.0, 60.0])
def test_a_head_that_is_always_late_gives_up_the_dead_all_the_same(
    driven: Driven, pause: float
) -> None:
    driven.joins(1, 0.0)
    looks = 0
    while driven.nodes_at(pause * (looks + 1)):
        looks += 1
    assert looks <= LEASE / min(pause, 2 * BEAT)
    assert (looks + 1) * pause > LEASE


def test_a_node_that_is_another_one_by_now_is_waited_for_no_longer(driven: Driven) -> None:
    driven.joins(1, 0.0)
    driven.joins(2, 1.0, former=[1])
    assert driven.nodes_at(0.5 + BEAT / 2) == [1, 2]
    assert [node.draining for node in driven.head.nodes()] == [True, False]
    driven.speaks(b"1", 1.2)  # that was on its way
    assert driven.nodes_at(1.1 + BEAT) == [1, 2]
    assert driven.nodes_at(1.3 + BEAT) == [2]


def test_a_node_can_speak_for_those_of_its_own_key_alone(driven: Driven) -> None:
    driven.joins(1, 0.0, key="another")
    driven.joins(2, 1.0, former=[1, 17])
    assert driven.nodes_at(2.0 + BEAT) == [1, 2]


def test_who_was_overtaken_by_himself_does_not_join(driven: Driven) -> None:
    driven.joins(1, 0.0, rid=b"second", attempt=2)
    driven.joins(1, 0.1, rid=b"first", attempt=1)
    assert list(driven.head.members) == [b"second"]
    driven.joins(1, 0.2, rid=b"third", attempt=3)
    assert list(driven.head.members) == [b"third"]
    answer = driven.speaks(b"second", 0.3)
    assert answer is not None
    assert wire.HEAD.unpack(answer[0])[0] == wire.UNKNOWN


def test_a_hello_that_comes_when_its_member_is_gone_is_too_late(driven: Driven) -> None:
    driven.joins(1, 0.0, attempt=2)
    driven.head.receive(b"1", wire.letter(wire.BYE, 0, 0, b'"it left"'), 0.1, str)
    driven.joins(1, 0.2, attempt=1)
    assert driven.nodes_at(0.3) == []
    driven.joins(1, 0.4, attempt=3)
    assert driven.nodes_at(0.5) == [1]


def test_nobody_is_kept_out_by_what_another_key_has_said(driven: Driven) -> None:
    driven.joins(1, 0.0, rid=b"mallory", key="another", attempt=(1 << 64) - 1)
    driven.head.receive(b"mallory", wire.letter(wire.BYE, 0, 0, b'"it left"'), 0.1, str)
    driven.joins(1, 0.2, attempt=1)
    assert driven.nodes_at(0.3) == [1]


def test_a_late_hello_does_not_bring_back_a_node_that_is_another_one_by_now(
    driven: Driven,
) -> None:
    driven.joins(1, 0.0, attempt=1)
    driven.joins(2, 0.1, former=[1])
    driven.joins(1, 0.2, rid=b"late", attempt=2)
    assert driven.nodes_at(0.3 + BEAT) == [2]


@pytest.mark.parametrize("former", [[-1], ["1"], 7, [1 << 64]])
def test_what_names_no_node_is_dropped(driven: Driven, former: Any) -> None:
    driven.joins(1, 0.0, former=former)
    assert driven.nodes_at(0.1) == []
