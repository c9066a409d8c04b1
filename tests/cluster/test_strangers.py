"""How connections are told apart of which libzmq does not say who gave proof of a key."""

from __future__ import annotations

import zmq
from hypothesis import given
from hypothesis import strategies as st

from polyexec_zmq._strangers import Balance

#: What becomes of who connects: he is let in, or not though he gave proof, or gives none.
FATES = ["let in", "denied", "none"]


class Connections:
    """Tells a balance what libzmq would, which takes the lowest descriptor that is free."""

    def __init__(self) -> None:
        self.balance = Balance()
        self.told = 0
        self.strangers = 0
        self._fates: dict[int, str] = {}
        #: Who has yet to give proof; who has, and has not sent a letter.
        self._waiting: list[int] = []
        self._silent: list[int] = []

    def come(self, fate: str) -> None:
        """Have somebody connect."""
        fd = next(fd for fd in range(1, 1000) if fd not in self._fates)
        self._fates[fd] = fate
        if fate != "none":
            self._waiting.append(fd)
        self._tell(zmq.EVENT_ACCEPTED, fd)

    def prove(self, which: int) -> None:
        """Have somebody give his proof; who is denied is cut off at once."""
        if not self._waiting:
            return
        fd = self._waiting.pop(which % len(self._waiting))
        if self._fates[fd] == "let in":
            self._silent.append(fd)
            self._tell(zmq.EVENT_HANDSHAKE_SUCCEEDED, 0)
        else:
            del self._fates[fd]
            self._tell(zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400)
            self._tell(zmq.EVENT_DISCONNECTED, fd)

    def write(self, which: int) -> None:
        """Have somebody who was let in send a letter."""
        if self._silent:
            self.balance.settle(self._silent.pop(which % len(self._silent)))

    def go(self, which: int) -> None:
        """Have somebody leave, but for those who were let in and have sent nothing."""
        fds = sorted(self._fates.keys() - set(self._silent))
        if fds:
            fd = fds[which % len(fds)]
            self.strangers += self._fates.pop(fd) == "none" or fd in self._waiting
            self._waiting = [each for each in self._waiting if each != fd]
            self._tell(zmq.EVENT_DISCONNECTED, fd)

    def _tell(self, event: int, value: int) -> None:
        self.told += self.balance.take(event, value)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("come"), st.sampled_from(FATES)),
            st.tuples(st.sampled_from(["prove", "write", "go"]), st.integers(0, 9)),
        ),
        max_size=60,
    )
)
def test_just_those_without_proof_are_told_of_as_they_leave(
    steps: list[tuple[str, int | str]],
) -> None:
    connections = Connections()
    for name, argument in steps:
        getattr(connections, name)(argument)
        assert connections.told == connections.strangers


def test_one_that_is_slow_to_give_proof_is_none_of_them() -> None:
    connections = Connections()
    for _ in range(2):
        connections.come("let in")
    connections.prove(1)
    connections.write(0)
    connections.go(1)
    connections.prove(0)
    connections.write(0)
    connections.go(0)
    assert connections.told == 0
