"""What a pool costs that has nothing to do."""

from __future__ import annotations

import statistics
import time

from benchmarks import accounting, workload
from benchmarks.accounting import Window
from benchmarks.candidates import POOLS
from benchmarks.model import OURS, POOL, Aim, Metric, Row, Values, Variant, named, warm
from benchmarks.rows.starting import METHODS

POOLS_OF_METHODS = (POOL, f"{POOL}, forkserver", f"{POOL}, spawn")
MEGABYTE = 1e6


def idle(variant: Variant, quick: bool) -> Values:  # noqa: FBT001
    """Measure workers that have done a few tasks, and then nothing for seconds."""
    pool = variant.open()
    warm(pool)
    workers = set(pool.map(workload.nap, [0.02] * 16))
    time.sleep(0.3)  # until what ends late has ended
    sizes = [accounting.memory(pid) for pid in workers]
    tree = accounting.tree_memory()
    with Window() as window:
        began = time.thread_time()
        time.sleep(1 if quick else 10)
        sleeper = time.thread_time() - began  # that is our own, not the pool's
    pool.close()
    return {
        "pss": statistics.mean(pss for pss, _ in sizes) / MEGABYTE,
        "uss": statistics.mean(uss for _, uss in sizes) / MEGABYTE,
        "tree": tree / MEGABYTE,
        "idle": (window.cpu - sleeper) / window.wall * 1e6,
    }


ROWS = (
    Row(
        "idle",
        "An idle pool",
        "Memory of a worker that has run a few tasks (proportional and unique set size), of all "
        "processes together, and the processor time that they use while nothing is asked of them.",
        (
            Metric("pss", "worker, PSS", "MB"),
            Metric("uss", "worker, USS", "MB"),
            Metric("tree", "all, PSS", "MB"),
            Metric("idle", "CPU, idle", "µs/s", ratio=False),
        ),
        idle,
        lambda quick: named(*OURS, *POOLS_OF_METHODS) if quick else named(*POOLS),
        (
            *(
                Aim(f"{method}: PSS within 1.2 of Pool's", "pss", 1.2, (pool,), (ours,))
                for method, ours, pool in zip(METHODS, OURS, POOLS_OF_METHODS, strict=True)
            ),
            Aim("idle: below 100 µs in a second", "idle", 100.0),
        ),
        reference=POOL,
        rounds=(3, 1),
    ),
)
