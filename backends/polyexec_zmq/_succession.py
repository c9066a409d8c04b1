"""What a head that takes the place of another has to wait for, and what it is told of its time.

Until every node of the other's roster has come back, or its lease is over, nothing is placed: the
nodes have jobs that their programs are about to ask for again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from polyexec_zmq._journal import ALL, NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from polyexec_zmq._journal import Journal

#: Of how many programs with a key it is remembered that they were given up, and of how many of
#: which it is not known any more which they had.
_MOST_FORSAKEN: Final = 1000
_MOST_UNKNOWN: Final = 100_000


class Succession:
    """What is left of the head before; *lease* is in seconds."""

    def __init__(self, journal: Journal | None, lease: float) -> None:
        self._lease = lease
        self._journal = journal
        #: The programs that were given up, and have not come back, by key.
        self._forsaken: dict[str | None, dict[int, None]] = {}
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
        for programs in self._forsaken.values():
            for program in programs:
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

    def resumed(self, program: int, waits_for: AbstractSet[int]) -> None:
        """Take note that a program has told of all jobs that it waits for; the others are over."""
        sent = self._sent.get(program, {})
        for number in sent.keys() - waits_for:
            del sent[number]

    def gave_up(self, hello: Mapping[str, Any], incarnation: str, now: float) -> bool:
        """Return whether what a member had before was given up, so that others have it by now."""
        before = hello.get("incarnation")
        if before is None or before == incarnation:
            return before is not None
        if self._is_forsaken(hello["member"]):
            return True
        patience = self._lease if hello["role"] == "node" else 2 * self._lease
        return self.began is not None and not self.awaited and now - self.began > patience

    def left(self, program: int, key: str, *, in_use: bool) -> None:
        """Take note that a program is gone; *in_use*: it had executors, and may come back."""
        if self._sent.pop(program, None) or in_use:
            self._forsake(program, key)

    def _forsake(self, program: int, key: str | None) -> None:
        """Take note that a program is given up; it may come back, to another head even."""
        self._sent.pop(program, None)
        programs = self._forsaken.setdefault(key, {})
        programs[program] = None
        if len(programs) > (_MOST_UNKNOWN if key is None else _MOST_FORSAKEN):
            del programs[next(iter(programs))]
        if self._journal is not None:
            self._journal.lost(program, [ALL])

    def came_back(self, program: int) -> None:
        """Take note that a program is here, and if it was given up, knows so."""
        if not self._is_forsaken(program):
            return
        for programs in self._forsaken.values():
            programs.pop(program, None)
        self._sent.get(program, {}).pop(ALL, None)
        if self._journal is not None:
            self._journal.given_back(program, [ALL])

    def _is_forsaken(self, program: int) -> bool:
        here = any(program in programs for programs in self._forsaken.values())
        return here or ALL in self._sent.get(program, ())

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

    def abandoned(
        self, now: float, here: Container[int], may_open: Callable[[tuple[int, int]], bool]
    ) -> list[tuple[int, int, int]]:
        """Return program, executor and node of what nobody will ask for any more.

        *here* is who is here, *may_open* says of which executors somebody may.
        """
        if self.began is None or now - self.began <= 2 * self._lease:
            return []
        absent = [key for key in self._orphans if not may_open(key)]
        programs = {program for program, _ in absent if program not in here}
        if not self._past:
            self._past = True
            programs |= {program for program in self._sent if program not in here}
        for program in programs:
            self._forsake(program, None)
        return [(*key, node) for key in absent for node in self._orphans.pop(key)]
