"""The relay alone, with plain sockets: who is let through, to whom, and who is not."""

from __future__ import annotations

import resource
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

import pytest

from cluster.commands import PATIENCE, until
from polyexec import ClusterError
from polyexec_zmq import _relay
from polyexec_zmq._relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBERS = (1, 2)


@pytest.fixture
def relay() -> Iterator[Relay]:
    """Return a relay, which has nothing open in the end but what its test has."""
    relay = Relay("tcp://127.0.0.1:*")
    yield relay
    relay.close()
    assert relay.count == 0
    while Caller.made:
        Caller.made.pop().sock.close()


class Caller:
    """Somebody who connects to a relay."""

    made: ClassVar[list[Caller]] = []

    def __init__(self, relay: Relay) -> None:
        host, _, port = relay.address.rpartition(":")
        self.sock = socket.create_connection((host, int(port)), PATIENCE)
        self.made.append(self)

    def say(self, data: bytes) -> None:
        """Say *data*."""
        self.sock.sendall(data)

    def name(self, number: int) -> None:
        """Say a number, as ZeroMQ does."""
        self.say(first(number))

    def hear(self, size: int) -> bytes:
        """Return the next *size* bytes, less if it is cut off."""
        heard = b""
        with suppress(ConnectionResetError):
            while len(heard) < size and (data := self.sock.recv(size - len(heard))):
                heard += data
        return heard

    @property
    def is_cut_off(self) -> bool:
        """Whether it has been cut off, without a word, once that can be told."""
        return self.hear(1) == b""


def first(number: int) -> bytes:
    """Return what a socket says first, whose routing id is of that length."""
    return b"\xff" + struct.pack(">Q", number + 1) + b"\x7f"


def expect(relay: Relay, members: tuple[int, int] = MEMBERS) -> int:
    """Have *relay* expect two, and return their number."""
    number = relay.expect(members)
    assert number is not None
    return number


def meet(relay: Relay, members: tuple[int, int] = MEMBERS) -> list[Caller]:
    """Return the two ends of a channel."""
    number = expect(relay, members)
    both = [Caller(relay), Caller(relay)]
    for each in both:
        each.name(number)
    assert [each.hear(10) for each in both] == [first(number)] * 2
    return both


def test_two_who_have_the_same_number_hear_each_other_and_nobody_else(relay: Relay) -> None:
    one, other = meet(relay)
    third, fourth = meet(relay, (1, 3))
    for caller, text in ((one, b"from one"), (other, b"from the other"), (third, b"third")):
        caller.say(text)
    assert other.hear(8) == b"from one"
    assert one.hear(14) == b"from the other"
    assert fourth.hear(5) == b"third"
    assert (relay.count, relay.passed) == (2, 27)
    one.sock.close()
    assert other.is_cut_off
    third.say(b"on")
    assert fourth.hear(2) == b"on"


def test_who_takes_nothing_keeps_the_other_waiting_and_gets_all(relay: Relay) -> None:
    one, other = meet(relay)
    there = bytes(range(251)) * 200_000
    back = there[::-1]
    talkers = [
        threading.Thread(target=caller.say, args=(data,))
        for caller, data in ((one, there), (other, back))
    ]
    for talker in talkers:
        talker.start()
    until(lambda: sum(bool(end.owed) for end in relay._ends) == len(talkers))
    assert all(len(end.owed) <= _relay._AT_A_TIME for end in relay._ends)
    assert not any(end.watched & _relay.READ for end in relay._ends)
    assert relay.passed < len(there)
    assert other.hear(len(there)) == there
    assert one.hear(len(back)) == back
    for talker in talkers:
        talker.join()


def test_a_number_that_nobody_expects_is_worth_nothing(relay: Relay) -> None:
    caller = Caller(relay)
    caller.name(expect(relay) % 255 + 1)
    assert caller.is_cut_off


def test_a_number_is_good_for_two(relay: Relay) -> None:
    number = expect(relay)
    both = [Caller(relay), Caller(relay)]
    for each in both:
        each.name(number)
    assert both[0].hear(10) == both[1].hear(10) == first(number)
    third = Caller(relay)
    third.name(number)
    assert third.is_cut_off
    both[0].say(b"on")
    assert both[1].hear(2) == b"on"


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        bytes(10),
        b"\xff" * 10,
        first(0),
        first(256),
        first(1 << 63),
        bytes(1000),
    ],
)
def test_who_speaks_otherwise_is_cut_off(relay: Relay, said: bytes) -> None:
    caller = Caller(relay)
    with suppress(ConnectionError):  # cut off while he speaks
        caller.say(said)
    assert caller.is_cut_off
    meet(relay)


def test_a_number_may_come_byte_by_byte(relay: Relay) -> None:
    number = expect(relay)
    caller, other = Caller(relay), Caller(relay)
    other.name(number)
    for byte in first(number):
        caller.say(bytes([byte]))
    assert caller.hear(10) == first(number)


def test_who_leaves_before_the_other_end_comes_is_not_waited_for(relay: Relay) -> None:
    number = expect(relay)
    caller = Caller(relay)
    caller.name(number)
    until(lambda: relay._strangers == 0)
    caller.sock.close()
    until(lambda: not relay._expected)
    late = Caller(relay)
    late.name(number)
    assert late.is_cut_off


def test_who_says_nothing_is_cut_off_in_time(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_relay, "_GREETING", 0.1)
    callers = [Caller(relay) for _ in range(3)]
    assert all(caller.is_cut_off for caller in callers)


def test_who_waits_in_vain_for_the_other_end_is_cut_off_in_time(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_relay, "_MEETING", 0.5)
    number = expect(relay)
    caller = Caller(relay)
    caller.name(number)
    assert caller.is_cut_off
    late = Caller(relay)
    late.name(number)
    assert late.is_cut_off


def test_there_is_room_for_so_many_strangers_and_again_when_they_have_gone(relay: Relay) -> None:
    strangers = [Caller(relay) for _ in range(_relay._MOST_STRANGERS)]
    until(lambda: relay._strangers == len(strangers))
    assert Caller(relay).is_cut_off
    for stranger in strangers:
        stranger.sock.close()
    until(lambda: relay._strangers == 0)
    meet(relay)


def test_channels_of_who_has_gone_are_closed(relay: Relay) -> None:
    mine, others = meet(relay), meet(relay, (1, 3))
    number = expect(relay, (2, 4))
    relay.part(2)
    assert all(caller.is_cut_off for caller in mine)
    caller = Caller(relay)
    caller.name(number)
    assert caller.is_cut_off
    others[0].say(b"on")
    assert others[1].hear(2) == b"on"


def test_who_is_refused_is_counted_and_logged_seldom(
    relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    others = meet(relay)
    for _ in range(100):
        caller = Caller(relay)
        caller.say(b"GET / HTTP/1.1\r\n\r\n")
        assert caller.is_cut_off
    others[0].say(b"on")
    assert others[1].hear(2) == b"on"
    assert relay.turned_away == 100
    lines = [each for each in caplog.messages if "named no channel" in each]
    assert 1 <= len(lines) < 50


def test_two_members_have_one_channel(relay: Relay) -> None:
    before = meet(relay)
    now = meet(relay)
    assert all(caller.is_cut_off for caller in before)
    now[0].say(b"on")
    assert now[1].hear(2) == b"on"


def test_there_are_not_more_channels_than_descriptors_allow(relay: Relay) -> None:
    relay._most = 2
    assert relay.expect((1, 2)) is not None
    assert relay.expect((1, 3)) is not None
    assert relay.expect((1, 4)) is None
    assert relay.expect((1, 3)) is not None  # in the place of the one before


def test_a_limit_that_is_none_allows_many(monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: unlimited)
    assert _relay.most_channels(2) > 100


def test_not_more_are_about_to_meet_than_there_are_numbers(relay: Relay) -> None:
    relay._most = 1000
    numbers = {relay.expect((1, member)) for member in range(2, 257)}
    assert numbers == set(range(1, 256))
    assert relay.expect((1, 999)) is None


def test_an_end_cuts_off_all(relay: Relay) -> None:
    callers = [*meet(relay), Caller(relay)]
    relay.close()
    assert all(caller.is_cut_off for caller in callers)


@pytest.mark.parametrize(
    "bind", ["ipc:///x", "tcp://127.0.0.1", "tcp://127.0.0.1:port", "tcp://127.0.0.1:65536", "5556"]
)
def test_what_is_no_address_is_refused(bind: str) -> None:
    with pytest.raises(ClusterError, match="is no address to listen at, as in tcp://"):
        Relay(bind)


def test_an_address_that_is_taken_is_refused(relay: Relay) -> None:
    with pytest.raises(ClusterError, match=r"nobody can listen at .* pass another address as"):
        Relay(f"tcp://{relay.address}")


@pytest.mark.parametrize("bind", ["tcp://*:*", "tcp://0.0.0.0:*", "tcp://[::]:*"])
def test_one_that_is_everywhere_is_told_by_its_port(bind: str) -> None:
    relay = Relay(bind)
    relay.close()
    assert relay.address.startswith(":")
