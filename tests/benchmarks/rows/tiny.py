"""Tasks that do nothing: what a task costs."""

from __future__ import annotations

import statistics
import time

from benchmarks import workload
from benchmarks.accounting import Window
from benchmarks.model import (
    EXECUTOR,
    PEERS,
    POOL,
    Aim,
    Metric,
    Row,
    Values,
    Variant,
    everyone,
    warm,
)

CPU = Metric("cpu", "CPU per task", "µs")
RATE = Metric("rate", "rate", "/s", more=True, ratio=False)
TASKS = Metric("tasks", "tasks", "", ratio=False)
#: One of these suits Pool.map best, whatever the machine.
CHUNKSIZES = (256, 2048, 12500)
CHUNKED = tuple(f"{POOL}, chunksize {size}" for size in CHUNKSIZES)


def costs(window: Window, tasks: int) -> Values:
    """Return the usual metrics of *tasks* that ran in *window*."""
    cpu = window.cpu / tasks * 1e6
    return {"cpu": cpu, "rate": tasks / window.wall, "tasks": float(tasks)}


def submit(variant: Variant, quick: bool) -> Values:  # noqa: FBT001 - see Row
    """Measure a `submit` for each task, and then the results."""
    tasks = (20_000 if quick else 100_000) // (10 if variant.heavy else 1)
    pool = variant.open()
    warm(pool)
    with Window() as window:
        for handle in [pool.submit(workload.nothing) for _ in range(tasks)]:
            pool.result(handle)
    pool.close()
    return costs(window, tasks)


def latency(variant: Variant, quick: bool) -> Values:  # noqa: FBT001
    """Measure one call after the other."""
    return latencies(variant, 1000 if quick else 5000)


def latencies(variant: Variant, tasks: int) -> Values:
    """Measure so many calls, one after the other."""
    pool = variant.open()
    warm(pool)
    times: list[float] = []
    with Window() as window:
        for _ in range(tasks):
            began = time.perf_counter()
            pool.result(pool.submit(workload.nothing))
            times.append(time.perf_counter() - began)
    pool.close()
    p50 = statistics.median(times) * 1e6
    p99 = statistics.quantiles(times, n=100)[-1] * 1e6
    return {"p50": p50, "p99": p99, "cpu": window.cpu / tasks * 1e6}


def mapped(variant: Variant, quick: bool) -> Values:  # noqa: FBT001
    """Measure a `map` over integers."""
    tasks = 200_000 // (20 if variant.heavy and quick else 1)
    pool = variant.open()
    warm(pool)
    items = range(tasks)
    with Window() as window:
        results = pool.map(workload.same, items)
    assert results == list(items), "map returned something else"
    pool.close()
    return costs(window, tasks)


ROWS = (
    Row(
        "submit",
        "No-op tasks, one `submit` each",
        "All are submitted, then all results are read. Processor time is the whole tree's, from "
        "the first `submit` to the last result. The slow ones get a tenth of the tasks.",
        (CPU, RATE, TASKS),
        submit,
        everyone,
        (
            Aim("CPU per task 1/20 of ProcessPoolExecutor's", "cpu", 1 / 20, (EXECUTOR,)),
            Aim("CPU per task 1/8 of multiprocessing.Pool's", "cpu", 1 / 8, (POOL,)),
        ),
        rounds=(5, 1),
    ),
    Row(
        "latency",
        "One call at a time",
        "The time of `submit(…).result()` of a no-op, in a pool that is idle otherwise.",
        (
            Metric("p50", "median", "µs"),
            Metric("p99", "99th percentile", "µs"),
            Metric("cpu", "CPU per task", "µs"),
        ),
        latency,
        everyone,
        (
            Aim(
                "1/2 of ProcessPoolExecutor's in every round", "p50", 1 / 2, (EXECUTOR,), worst=True
            ),
            Aim("1/3 of it in the median round", "p50", 1 / 3, (EXECUTOR,)),
            Aim("below every peer's", "p50", 1.0, PEERS),
        ),
        rounds=(7, 2),
    ),
    Row(
        "map",
        "`map` over 200,000 integers, default arguments",
        "multiprocessing.Pool.map also with several chunk sizes, the best of which is the measure. "
        "In a quick run the slow ones get a twentieth of the items.",
        (Metric("cpu", "CPU per item", "µs"), RATE, Metric("tasks", "items", "", ratio=False)),
        mapped,
        lambda quick: (
            everyone(quick)
            + [Variant(label, POOL, size) for label, size in zip(CHUNKED, CHUNKSIZES, strict=True)]
        ),
        (Aim("CPU per item of Pool.map's best", "cpu", 1.0, (POOL, *CHUNKED)),),
        reference=POOL,
        rounds=(5, 1),
    ),
)
