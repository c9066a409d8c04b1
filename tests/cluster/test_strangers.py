"""How connections are told apart of which libzmq does not say who gave proof of a key."""

from __future__ import annotations

import zmq
from hypothesis import given
from hypothesis import strategies as st

from polyexec_zmq._strangers import Balance

#: How libzmq tells that somebody gave proof, whether he is let in or not; None: he gave none.
PROOFS = [zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_HANDSHAKE_FAILED_AUTH, None]


class Connections:
    """Tells a balance what libzmq would, which takes the lowest descriptor that is free."""

    def __init__(self) -> None:
        self.balance = Balance()
        self.told = 0
        self.strangers = 0
        self._open: dict[int, int | None] = {}
        self._waiting: list[int] = []

    def come(self, proof: int | None) -> None:
        """Have somebody connect, who is to give *proof* later."""
        fd = next(fd for fd in range(1, 1000) if fd not in self._open)
        self._open[fd] = proof
        if proof is not None:
            self._waiting.append(fd)
        self._tell(zmq.EVENT_ACCEPTED, fd)

    def prove(self) -> None:
        """Have who came first give his proof."""
        if self._waiting:
            proof = self._open[self._waiting.pop(0)]
            assert proof is not None
            self._tell(proof, 0)

    def go(self, which: int) -> None:
        """Have somebody leave."""
        if self._open:
            fd = sorted(self._open)[which % len(self._open)]
            proof = self._open.pop(fd)
            self.strangers += proof is None or fd in self._waiting
            if fd in self._waiting:
                self._waiting.remove(fd)
            self._tell(zmq.EVENT_DISCONNECTED, fd)

    def _tell(self, event: int, value: int) -> None:
        self.told += self.balance.take(event, value)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("come"), st.sampled_from(PROOFS)),
            st.tuples(st.just("prove")),
            st.tuples(st.just("go"), st.integers(0, 9)),
        ),
        max_size=60,
    )
)
def test_all_without_proof_are_told_of_in_the_end(steps: list[tuple[str, int | None]]) -> None:
    connections = Connections()
    for name, *arguments in steps:
        getattr(connections, name)(*arguments)
    for _ in range(len(steps)):
        connections.go(0)
    assert connections.told == connections.strangers


def test_one_without_proof_among_others_is_told_of_as_he_leaves() -> None:
    connections = Connections()
    connections.come(zmq.EVENT_HANDSHAKE_SUCCEEDED)
    connections.come(None)
    connections.come(zmq.EVENT_HANDSHAKE_SUCCEEDED)
    connections.prove()
    connections.prove()
    connections.go(1)
    assert connections.told == 1
    connections.go(0)
    connections.go(0)
    assert connections.told == 1
