"""A line whose letters make no sense, or that can't begin: it tries again, as long as it may."""

from __future__ import annotations

from queue import Queue
from typing import TYPE_CHECKING, Any

import pytest

from cluster.commands import PATIENCE
from polyexec_zmq import _wire as wire
from polyexec_zmq._line import Line

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from polyexec import ClusterError

WELCOME = wire.letter(
    wire.WELCOME, 0, 0, wire.to_json({"lease": 60.0, "beat": 0.01, "fence": 60.0})
)
GARBLED = [b"short"]
SOUND = wire.letter(wire.TELL, 0, 7, b"{}")


class Connection:
    """Sessions in each of which some letters come, or that can't begin; it waits for nothing."""

    greeting = PATIENCE
    connected = True
    troubled = False
    channels = None
    sends = False

    def __init__(self, *sessions: list[list[bytes]], once: bool = False) -> None:
        self.once = once
        self._sessions = list(sessions)
        self._letters: list[list[bytes]] = []

    @property
    def readable(self) -> bool:
        return bool(self._letters)

    def open(self) -> str | None:
        if not self._sessions[0]:
            self._sessions.pop(0)
            return "not now"
        self._letters = [WELCOME, *self._sessions.pop(0)]
        return None

    def close(self, linger: int) -> None:
        del linger

    def end(self) -> None:
        pass

    def watch(self, fd: int) -> None:
        self._near = fd

    def unwatch(self, fd: int) -> None:
        pass

    def wait(self, seconds: float, *, for_room: bool = False) -> AbstractSet[int]:
        del seconds, for_room
        return set()

    def send(self, letter: list[Any]) -> bool:
        del letter
        return True

    def receive(self) -> list[bytes] | None:
        return self._letters.pop(0) if self._letters else None

    def look(self) -> bool:
        return True

    def failure(self) -> None:
        return None


class Member:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: Queue[Any] = Queue()

    def hello(self) -> dict[str, Any]:
        return {}

    def joined(self, welcome: dict[str, Any]) -> None:
        del welcome
        self.told.put("joined")

    def receive(self, kind: int, peer: int, number: int, frames: list[Any]) -> None:
        del kind, peer, frames
        self.told.put(number)

    def flush(self) -> None:
        return None

    def cut(self) -> None:
        self.told.put("cut")

    def failed(self, error: ClusterError) -> None:
        self.told.put(str(error))


def begun(connection: Connection) -> tuple[Line, Member]:
    member = Member()
    line = Line(member, "tcp://nowhere:1", connection, PATIENCE)
    line.start()
    return line, member


@pytest.mark.parametrize("letter", [GARBLED, [wire.HEAD.pack(wire.TELL, 0, 7) + b"!"]])
def test_a_letter_that_makes_no_sense_costs_a_session_and_no_more(letter: list[bytes]) -> None:
    line, member = begun(Connection([letter, SOUND], [SOUND]))
    told = [member.told.get(timeout=PATIENCE) for _ in range(4)]
    line.close()
    assert told == ["joined", "cut", "joined", 7]


def test_a_session_that_can_not_begin_costs_an_attempt_and_no_more() -> None:
    line, member = begun(Connection([], [GARBLED], [], [], [SOUND]))
    told = [member.told.get(timeout=PATIENCE) for _ in range(4)]
    line.close()
    assert told == ["joined", "cut", "joined", 7]


def test_a_head_that_never_makes_sense_is_given_up() -> None:
    _, member = begun(Connection(*[[GARBLED]] * 20))
    told: list[Any] = []
    while not told or told[-1] in ("joined", "cut"):
        told.append(member.told.get(timeout=PATIENCE))
    assert told.count("joined") == 9
    assert told[-1].startswith("polyexec failed: error('unpack requires")


def test_where_there_is_no_second_session_it_is_said_at_once() -> None:
    _, member = begun(Connection([GARBLED], once=True))
    assert member.told.get(timeout=PATIENCE) == "joined"
    assert member.told.get(timeout=PATIENCE).startswith("polyexec failed: error('unpack requires")
