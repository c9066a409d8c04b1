"""Counted resources: which of a node's a worker has, and how it learns that."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: What programs look at that use a resource of that name, besides POLYEXEC_RESOURCE_<NAME>.
_KNOWN_BY = {"gpu": ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")}


def environment(units: Mapping[str, list[int]]) -> dict[str, str]:
    """Return the environment variables that tell a worker which units it has."""
    env: dict[str, str] = {}
    for name, numbers in units.items():
        value = ",".join(map(str, numbers))
        for variable in (f"POLYEXEC_RESOURCE_{name.upper()}", *_KNOWN_BY.get(name, ())):
            env[variable] = value
    return env


class WorkerUnits:
    """Shares an executor's units on one node out among its workers, so many of each to one."""

    def __init__(self, needs: Mapping[str, int]) -> None:
        self._needs = needs
        self._units: dict[str, list[int]] = {}
        self._given: dict[str, dict[str, list[int]]] = {}

    def set(self, units: Mapping[str, list[int]]) -> None:
        """Take note of which units there are from now on."""
        self._units = {name: list(numbers) for name, numbers in units.items()}

    def give(self, worker: str, alive: Iterable[str]) -> dict[str, str]:
        """Return the environment of a new worker; who is not *alive* needs his no more."""
        living = set(alive)
        self._given = {name: units for name, units in self._given.items() if name in living}
        mine: dict[str, list[int]] = {}
        for name, numbers in self._units.items():
            used = {number for units in self._given.values() for number in units.get(name, ())}
            mine[name] = [number for number in numbers if number not in used][: self._needs[name]]
        self._given[worker] = mine
        return environment(mine)


class Stock:
    """The counted resources of all nodes, as their head gives them away."""

    def __init__(self) -> None:
        self._free: dict[int, dict[str, list[int]]] = {}

    def add(self, node: int, resources: Mapping[str, int]) -> None:
        """Take note of what a node has."""
        self._free[node] = {name: list(range(count)) for name, count in resources.items()}

    def remove(self, node: int) -> None:
        """Forget a node."""
        self._free.pop(node, None)

    def take(self, node: int, needs: Mapping[str, int]) -> dict[str, list[int]] | None:
        """Return units of *node* for one worker that *needs* them; None if there are not enough."""
        free = self._free.get(node, {})
        if any(len(free.get(name, ())) < count for name, count in needs.items()):
            return None
        taken: dict[str, list[int]] = {}
        for name, count in needs.items():
            taken[name], free[name] = free[name][:count], free[name][count:]
        return taken

    def claim(self, node: int, units: Mapping[str, list[int]]) -> None:
        """Take note that these are in use already."""
        free = self._free.get(node, {})
        for name in units.keys() & free.keys():
            free[name] = [number for number in free[name] if number not in units[name]]

    def give_back(self, node: int, units: Mapping[str, list[int]]) -> None:
        """Take back what an executor needs no more."""
        free = self._free.get(node, {})
        for name in units.keys() & free.keys():
            free[name] = sorted({*free[name], *units[name]})
