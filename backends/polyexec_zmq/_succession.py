"""What a head that takes the place of another has to wait for, and what it is told of its time.

Until every node of the other's roster has come back, or its lease is over, nothing is placed: the
nodes have jobs that their programs are about to ask for again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from polyexec_zmq._journal import Journal


class Succession:
    """What is left of the head before; *lease* is in seconds."""

    def __init__(self, journal: Journal | None, lease: float) -> None:
        self._lease = lease
        #: The nodes that are expected, and by program which job was sent to which node.
        self.awaited: set[int] = set()
        self._sent: dict[int, dict[int, int]] = {}
        if journal is not None:
            self.awaited, self._sent = journal.read()
        #: What nodes have for executors whose programs have not come back.
        self._orphans: dict[tuple[int, int], dict[int, dict[str, Any]]] = {}
        self.began: float | None = None

    def sent(self, program: int) -> dict[int, int]:
        """Return which of a program's jobs were sent to which nodes, and nobody has told of."""
        return self._sent.setdefault(program, {})

    def gave_up(self, hello: Mapping[str, Any], incarnation: str, now: float) -> bool:
        """Return whether what a member had before was given up, so that others have it by now."""
        before = hello.get("incarnation")
        if before is None or before == incarnation:
            return before is not None
        patience = self._lease if hello["role"] == "node" else 2 * self._lease
        return self.began is not None and not self.awaited and now - self.began > patience

    def orphan(self, key: tuple[int, int], node: int, station: dict[str, Any]) -> None:
        """Take note of what a node has for a program that is not here."""
        self._orphans.setdefault(key, {})[node] = station

    def adopt(self, key: tuple[int, int]) -> dict[int, dict[str, Any]]:
        """Return what nodes have for an executor, whose program has come back."""
        return self._orphans.pop(key, {})

    def ended(self, key: tuple[int, int], node: int) -> None:
        """Take note that a node has nothing any more for a program that is not here."""
        self._orphans.get(key, {}).pop(node, None)

    def forget(self, node: int) -> None:
        """Take note that a node has nothing of what it had told."""
        for stations in self._orphans.values():
            stations.pop(node, None)

    def vouch(
        self, node: int, told: Mapping[tuple[int, int], dict[str, Any]]
    ) -> Iterator[tuple[int, list[int]]]:
        """Yield, by program, the jobs that a node which is back was sent and has not begun."""
        has = {
            (client, number)
            for (client, _), station in told.items()
            for numbers in (station["jobs"], *(jobs for _, jobs in station["answered"]))
            for number in numbers
        }
        for client, sent in self._sent.items():
            mine = [number for number, where in sent.items() if where == node]
            unbegun = [number for number in mine if (client, number) not in has]
            for number in unbegun:
                del sent[number]
            yield client, unbegun

    def overdue(self, now: float) -> set[int]:
        """Return the nodes that are expected no more."""
        if not self.awaited or self.began is None or now - self.began <= self._lease:
            return set()
        lost, self.awaited = self.awaited, set()
        return lost

    def abandoned(self, now: float) -> list[tuple[int, int, int]]:
        """Return program, executor and node of what nobody will ask for any more."""
        if not self._orphans or self.began is None or now - self.began <= 2 * self._lease:
            return []
        orphans, self._orphans = self._orphans, {}
        return [(*key, node) for key, stations in orphans.items() for node in stations]
