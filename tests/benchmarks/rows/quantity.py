"""Very many tasks: whether anything grows with them."""

from __future__ import annotations

import gc
import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import accounting, workload
from benchmarks.candidates import WORKERS
from benchmarks.model import EXECUTOR, OURS, POOL, Aim, Metric, Row, Values, Variant, named, warm

if TYPE_CHECKING:
    from benchmarks.candidates import Candidate

#: So many futures are held at a time.
BLOCK = 5000
#: How often memory is looked at.
POINTS = 20
#: How many submits one sample is, and how many there are, of which the median counts.
SAMPLE, SAMPLES = 200, 15
MILLION = 1_000_000


def growth(variant: Variant, quick: bool) -> Values:  # noqa: FBT001
    """Measure the tree's memory again and again, and return by how much it tends to grow."""
    tasks = 100_000 if quick else MILLION
    pool = variant.open()
    warm(pool)
    _run(pool, tasks // POINTS)
    points: list[tuple[int, float]] = []
    for done in range(0, tasks, tasks // POINTS):
        _run(pool, tasks // POINTS)
        points.append((done, _settled()))
    pool.close()
    return {"growth": _trend(points), "tasks": float(tasks)}


def _run(pool: Candidate, tasks: int) -> None:
    for _ in range(0, tasks, BLOCK):
        for handle in [pool.submit(workload.nothing) for _ in range(BLOCK)]:
            pool.result(handle)


def _trend(points: list[tuple[int, float]]) -> float:
    """Return the median of all slopes between two points, which ignores single steps."""
    return statistics.median(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in itertools.combinations(points, 2)
    )


def _settled() -> float:
    gc.collect()
    return accounting.tree_memory()


def backlog(variant: Variant, quick: bool) -> Values:  # noqa: FBT001
    """Measure the cost of a submit behind ever more tasks, none of which begins."""
    depths = (1000, 10_000, 100_000) if quick else (1000, 100_000, MILLION)
    pool = variant.open()
    warm(pool)
    values: Values = {"depth": float(depths[-1])}
    costs: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        gate = Path(folder, "gate")
        handles = [pool.submit(workload.wait_for, str(gate)) for _ in range(WORKERS)]
        before = _settled()
        for key, depth in zip(("shallow", "middle", "deep"), depths, strict=True):
            while len(handles) < depth:
                handles.append(pool.submit(workload.nothing))
            costs.append(_submit_cost(pool, handles) * 1e6)
            values[key] = costs[-1]
        values["flat"] = costs[-1] / costs[0]
        values["memory"] = (_settled() - before) / len(handles)
        # Not run to the end: some pools would take minutes.
        del handles
        gate.touch()
        pool.close()
    return values


def _submit_cost(pool: Candidate, handles: list[object]) -> float:
    """Return the seconds of processor time of one submit, in all threads of this process."""
    samples: list[float] = []
    for _ in range(SAMPLES):
        began = time.process_time()
        handles += [pool.submit(workload.nothing) for _ in range(SAMPLE)]
        samples.append((time.process_time() - began) / SAMPLE)
    return statistics.median(samples)


def _some(_: bool) -> list[Variant]:  # noqa: FBT001
    return named(*OURS, EXECUTOR, POOL)


ROWS = (
    Row(
        "growth",
        "A million tasks",
        "By how much the memory of all processes tends to grow with a million tasks (100,000 in a "
        "quick run): the median slope between any two of 20 points; 5,000 futures are held at a "
        "time.",
        (
            Metric("growth", "bytes per task", "B", ratio=False),
            Metric("tasks", "tasks", "", ratio=False),
        ),
        growth,
        lambda quick: named(*OURS) if quick else _some(quick),
        (Aim("below 8 bytes per task, one pointer", "growth", 8.0),),
        reference=None,
        rounds=(1, 1),
        limit=(400.0, 30.0),
    ),
    Row(
        "backlog",
        "Submitting behind a million others",
        "CPU of a submit, all threads of the program, with 1,000, 100,000 and a million tasks "
        "waiting (in a quick run 1,000, 10,000 and 100,000), and memory for each that waits.",
        (
            Metric("shallow", "at 1,000", "µs"),
            Metric("middle", "at a tenth", "µs"),
            Metric("deep", "at the most", "µs"),
            Metric("flat", "most over 1,000", "", ratio=False),
            Metric("memory", "memory each", "B"),
            Metric("depth", "the most", "", ratio=False),
        ),
        backlog,
        _some,
        (Aim("flat: within 1.25", "flat", 1.25),),
        rounds=(1, 1),
        limit=(200.0, 30.0),
    ),
)
