"""What a head that takes the place of another has to wait for, and what it is told of its time.

Until every node of the other's roster has come back, or its lease is over, nothing is placed: the
nodes have jobs that their programs are about to ask for again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from polyexec_zmq._journal import ALL, NOBODY

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from polyexec_zmq._journal import Journal

#: Of how many programs that were given up it is remembered.
_MOST_FORSAKEN: Final = 1000


class Succession:
    """What is left of the head before; *lease* is in seconds."""

    def __init__(self, journal: Journal | None, lease: float) -> None:
        self._lease = lease
        self._journal = journal
        #: The programs that were given up, and have not come back.
        self._forsaken: deque[int] = deque(maxlen=_MOST_FORSAKEN)
        #: The nodes that are expected, and by program which job was sent to which node.
        self.awaited: set[int] = set()
        self._sent: dict[int, dict[int, int]] = {}
        if journal is not None:
            self.awaited, self._sent = journal.read()
        #: What nodes have for executors whose programs have not come back.
        self._orphans: dict[tuple[int, int], dict[int, dict[str, Any]]] = {}
        self.began: float | None = None
        #: Whether programs that were not back by then are not waited for any more.
        self._past = False

    def held(self) -> Iterator[tuple[int, int, list[int]]]:
        """Yield programs, nodes, and the jobs that these were sent, and nobody has told of."""
        for program in self._forsaken:
            yield program, NOBODY, [ALL]
        for program, sent in self._sent.items():
            nodes: dict[int, list[int]] = {}
            for number, node in sent.items():
                nodes.setdefault(node, []).append(number)
            for node, numbers in nodes.items():
                yield program, node, numbers

    def sent(self, program: int) -> dict[int, int]:
        """Return which of a program's jobs were sent to which nodes, and nobody has told of."""
        return self._sent.setdefault(program, {})

    def gave_up(self, hello: Mapping[str, Any], incarnation: str, now: float) -> bool:
        """Return whether what a member had before was given up, so that others have it by now."""
        before = hello.get("incarnation")
        if before is None or before == incarnation:
            return before is not None
        if ALL in self._sent.get(hello["member"], ()):
            return True
        patience = self._lease if hello["role"] == "node" else 2 * self._lease
        return self.began is not None and not self.awaited and now - self.began > patience

    def forsake(self, program: int) -> None:
        """Take note that a program is given up; it may come back, to another head even."""
        self._sent.pop(program, None)
        if program not in self._forsaken:
            self._forsaken.append(program)
        if self._journal is not None:
            self._journal.lost(program, [ALL])

    def came_back(self, program: int) -> None:
        """Take note that a program is here, and if it was given up, knows so."""
        sent = self._sent.get(program, {})
        if program in self._forsaken or ALL in sent:
            sent.pop(ALL, None)
            if program in self._forsaken:
                self._forsaken.remove(program)
            if self._journal is not None:
                self._journal.given_back(program, [ALL])

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

    def abandoned(self, now: float, here: Container[int]) -> list[tuple[int, int, int]]:
        """Return program, executor and node of what nobody will ask for; *here* is who is here."""
        if self.began is None or now - self.began <= 2 * self._lease:
            return []
        if not self._past:
            self._past = True
            absent = [program for program in self._sent if program not in here]
            for program in absent:
                self.forsake(program)
        orphans, self._orphans = self._orphans, {}
        return [(*key, node) for key, stations in orphans.items() for node in stations]
