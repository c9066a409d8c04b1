"""How many workers of each executor are where; a function without state."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

M = TypeVar("M")


def spread(wanted: int | None, cpus: Mapping[M, int]) -> dict[M, int]:
    """Return how many of *wanted* workers are to be on each machine, by its number of *cpus*.

    None wants as many as there are CPUs. Machines that have none get none.
    """
    usable = {machine: count for machine, count in cpus.items() if count > 0}
    if wanted is None:
        return usable
    total = sum(usable.values())
    if not total:
        return {}
    # Whole shares at once, for there may be very many; the rest one by one, where load is least.
    widths = {machine: wanted * count // total for machine, count in usable.items()}
    order = {machine: place for place, machine in enumerate(usable)}
    heap = [
        ((widths[machine] + 1) / count, order[machine], machine)
        for machine, count in usable.items()
    ]
    heapq.heapify(heap)
    for _ in range(wanted - sum(widths.values())):
        _, place, machine = heap[0]
        widths[machine] += 1
        heapq.heapreplace(heap, ((widths[machine] + 1) / usable[machine], place, machine))
    return {machine: width for machine, width in widths.items() if width}
