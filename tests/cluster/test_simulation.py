"""Whatever is cut, lost or begun anew, and when: every job ends once, no attempt runs twice."""

from __future__ import annotations

import os
import random
from typing import Any, Final, TypeAlias

import pytest

from cluster.simulation import Cluster

#: How many lives of a cluster are tried in a test, and how many things happen in each.
EPISODES: Final = 400 if os.environ.get("POLYEXEC_SOAK") else 40
STEPS: Final = 60
MOST_NODES: Final = 3

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
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    kinds = chance.choices(list(MOVES), list(MOVES.values()), k=STEPS)
    return [(kind, chance.randrange(60), chance.choice([1, 1, 2, 8])) for kind in kinds]


def do(cluster: Cluster, move: Move) -> None:
    """Have it happen."""
    kind, place, count = move
    members: list[Any] = cluster.members()
    nodes = cluster.nodes
    member = members[place % len(members)]
    if kind in ("send", "receive"):
        cluster.carry(member, up=kind == "send", most=count)
    elif kind == "exchange":
        cluster.exchange()
    elif kind == "submit":
        for _ in range(count):
            cluster.submit()
    elif kind == "join":
        if len(nodes) < MOST_NODES:
            cluster.add_node(count)
    elif kind == "recall":
        cluster.recall(place, count)
    elif kind == "restart_head":
        cluster.restart_head()
    elif kind in ("connect", "cut"):
        getattr(cluster, kind)(member)
    elif kind in ("begin", "finish", "fence"):
        if nodes:
            getattr(cluster, kind)(nodes[place % len(nodes)])
    elif cluster.jobs:
        getattr(cluster, kind)(place % len(cluster.jobs))


def live(happens: list[Move]) -> None:
    """Live through what happens, and what is left to do afterwards."""
    cluster = Cluster()
    try:
        for move in happens:
            do(cluster, move)
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
            print(f"seed {seed} fails by:", *fewest, sep="\n  ")
            live(fewest)
            raise
