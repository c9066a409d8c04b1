"""Whatever is cut, lost or begun anew, and when: every job ends once, no attempt runs twice."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest

from cluster.simulation import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable

#: How many lives of a cluster are tried in a test, and how many things happen in each.
EPISODES: Final = 400 if os.environ.get("POLYEXEC_SOAK") else 40
STEPS: Final = 60

#: What to do, to which of those there are, and how much of it.
Move: TypeAlias = "tuple[str, int, int]"

#: How likely each is.
MOVES: Final = {
    "send": 15,
    "receive": 15,
    "exchange": 12,
    "begin": 10,
    "finish": 10,
    "connect": 10,
    "submit": 8,
    "cut": 8,
    "withdraw": 4,
    "recall": 4,
    "kill": 3,
    "join": 3,
    "restart_head": 3,
    "fence": 2,
}


def moves(seed: int) -> list[Move]:
    """Return what happens in one life."""
    chance = random.Random(seed)
    kinds = chance.choices(list(MOVES), list(MOVES.values()), k=STEPS)
    return [(kind, chance.randrange(60), chance.choice([1, 1, 2, 8])) for kind in kinds]


#: How it is done.
DONE: Final[dict[str, Callable[[Cluster, int, int], object]]] = {
    "send": lambda cluster, place, count: cluster.carry(cluster.member(place), up=True, most=count),
    "receive": lambda cluster, place, count: cluster.carry(
        cluster.member(place), up=False, most=count
    ),
    "exchange": lambda cluster, _, __: cluster.exchange(),
    "connect": lambda cluster, place, _: cluster.connect(cluster.member(place)),
    "cut": lambda cluster, place, _: cluster.cut(cluster.member(place)),
    "submit": lambda cluster, _, count: cluster.submit(count),
    "join": lambda cluster, _, count: cluster.add_node(count),
    "recall": lambda cluster, place, count: cluster.recall(place, count),
    "restart_head": lambda cluster, _, __: cluster.restart_head(),
    "begin": lambda cluster, place, _: cluster.begin(place),
    "finish": lambda cluster, place, _: cluster.finish(place),
    "fence": lambda cluster, place, _: cluster.fence(place),
    "withdraw": lambda cluster, place, _: cluster.withdraw(place),
    "kill": lambda cluster, place, _: cluster.kill(place),
}


def live(happens: list[Move]) -> None:
    """Live through what happens, and what is left to do afterwards."""
    cluster = Cluster()
    try:
        for kind, place, count in happens:
            DONE[kind](cluster, place, count)
        cluster.settle()
    finally:
        cluster.close()


def shortest(happens: list[Move]) -> list[Move]:
    """Return the fewest of these moves that fail still, as they are found by leaving out some."""
    size = len(happens) // 2
    while size:
        start = 0
        while start < len(happens):
            fewer = happens[:start] + happens[start + size :]
            try:
                live(fewer)
            except Exception:  # noqa: BLE001 - whatever it is, fewer moves bring it about
                happens = fewer
            else:
                start += size
        size //= 2
    return happens


@pytest.mark.parametrize("first", range(0, 25 * EPISODES, EPISODES))
def test_every_job_ends_once_and_no_attempt_runs_twice(first: int) -> None:
    for seed in range(first, first + EPISODES):
        try:
            live(moves(seed))
        except Exception:
            fewest = shortest(moves(seed))
            print(f"seed {seed} fails by: {fewest}")  # noqa: T201 - to be repeated
            live(fewest)
            raise
