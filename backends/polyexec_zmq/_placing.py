"""Which workers of which executors are where, and which counted resources they have.

An executor whose tasks need no resources has workers wherever there are CPUs. One whose tasks need
some has a worker for each set of them that it has been given, and is given them when it has tasks;
what it does not use goes back once somebody else waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polyexec_zmq._placement import spread
from polyexec_zmq._units import Stock

if TYPE_CHECKING:
    from collections.abc import Collection

    from polyexec_zmq._members import HeadMember
    from polyexec_zmq._work import Work


class _Share:
    """What one executor has been given of one node: for so many workers, these units."""

    def __init__(self) -> None:
        self.workers = 0
        self.units: dict[str, list[int]] = {}

    def add(self, units: dict[str, list[int]]) -> None:
        """Take note of what one more worker has."""
        self.workers += 1
        for name, numbers in units.items():
            self.units[name] = self.units.get(name, []) + numbers


class Placing:
    """The places of all workers."""

    def __init__(self) -> None:
        self._stock = Stock()
        self._shares: dict[Work, dict[int, _Share]] = {}

    def joined(self, node: HeadMember) -> None:
        """Take note of a new node."""
        self._stock.add(node.id, node.resources)

    def left(self, node: HeadMember) -> None:
        """Forget a node."""
        self._stock.remove(node.id)
        for shares in self._shares.values():
            shares.pop(node.id, None)

    def claimed(self, work: Work, node: int, station: dict[str, Any]) -> None:
        """Take note that a node has workers of *work* already, and what they use."""
        if work.needs:
            share = self._shares.setdefault(work, {})[node] = _Share()
            share.workers, share.units = station["width"], station["units"]
            self._stock.claim(node, share.units)

    def place(self, work: Work, nodes: Collection[HeadMember]) -> None:
        """Have *work*'s workers where they are to be."""
        out = work.barred | work.ending
        usable = [node for node in nodes if not node.draining and node.id not in out]
        if work.needs:
            self._allot(work, usable)
        else:
            work.place(spread(work.wanted, {node.id: node.cpus for node in usable}))

    def _allot(self, work: Work, nodes: Collection[HeadMember]) -> None:
        shares = self._shares.setdefault(work, {})
        for node_id in shares.keys() & (work.barred | work.ending):
            self._stock.give_back(node_id, shares.pop(node_id).units)
        missing = work.useful - sum(share.workers for share in shares.values())
        for node in nodes:
            while missing > 0:
                units = self._stock.take(node.id, work.needs)
                if units is None:
                    break
                shares.setdefault(node.id, _Share()).add(units)
                missing -= 1
        widths = {node: share.workers for node, share in shares.items()}
        work.place(widths, {node: share.units for node, share in shares.items()})

    def release(self, work: Work) -> None:
        """Take back what *work* has been given."""
        for node, share in self._shares.pop(work, {}).items():
            self._stock.give_back(node, share.units)

    def review(self, works: Collection[Work], nodes: Collection[HeadMember]) -> bool:
        """Give resources to who waits for some; return whether anybody does."""
        waiting = [work for work in works if work.needs and work.is_short]
        if not waiting:
            return False
        for work in list(self._shares):
            if work.is_idle:
                self.release(work)
                work.place({})
        for work in waiting:
            self.place(work, nodes)
        return True
