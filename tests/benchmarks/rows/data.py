"""Large arguments, results and functions."""

from __future__ import annotations

import statistics
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks import workload
from benchmarks.accounting import Window
from benchmarks.candidates import library
from benchmarks.model import (
    EXECUTOR,
    JOBLIB,
    LOKY,
    OURS,
    POOL,
    RAY,
    Aim,
    Metric,
    Row,
    Values,
    Variant,
    chosen,
    warm,
)
from benchmarks.rows.tiny import RATE, TASKS, costs

if TYPE_CHECKING:
    from benchmarks.candidates import Candidate

#: 64 MB of float64.
LENGTH = 8_000_000
FIVE_MEGABYTES = 5_000_000
WAYS = ("in", "out", "echo")


def arrays(variant: Variant, quick: bool) -> Values:  # noqa: FBT001
    """Measure arrays one way, the other way, and both; whoever receives one reads its pages."""
    count = 1 if quick else 6
    numpy = library("numpy")
    pool = variant.open()
    warm(pool)
    values: Values = {}
    for way in WAYS:
        _exchange(pool, way, numpy.ones(LENGTH))
        cpu: list[float] = []
        wall: list[float] = []
        for number in range(count):
            given = numpy.full(LENGTH, float(number))  # a new one, for some pools remember
            with Window() as window:
                _exchange(pool, way, given)
            cpu.append(window.cpu * 1000)
            wall.append(window.wall * 1000)
        values[way] = statistics.median(cpu)
        values[f"{way}_wall"] = statistics.median(wall)
    pool.close()
    return values


def _exchange(pool: Candidate, way: str, given: Any) -> None:
    if way == "in":
        pool.call(workload.touch, given)
    elif way == "out":
        workload.touch(pool.call(workload.filled, LENGTH))
    else:
        workload.touch(pool.call(workload.same, given))


def partials(variant: Variant, quick: bool) -> Values:  # noqa: FBT001
    """Measure calls of one function that carries five megabytes."""
    return _carrying(variant, partial(workload.size, bytes(FIVE_MEGABYTES)), quick=quick)


def closures(variant: Variant, quick: bool) -> Values:  # noqa: FBT001
    """Measure calls of a closure over five megabytes."""
    return _carrying(variant, workload.closure(bytes(FIVE_MEGABYTES)), quick=quick)


def _carrying(variant: Variant, function: Any, *, quick: bool) -> Values:
    tasks = 100 if quick and variant.label not in OURS else 1000
    pool = variant.open()
    warm(pool)
    with Window() as window:
        results = pool.calls(function, tasks)
    assert results == [FIVE_MEGABYTES + number for number in range(tasks)]
    pool.close()
    return costs(window, tasks)


ROWS = (
    Row(
        "arrays",
        "A NumPy array of 64 MB: in, out, and both ways",
        "One call at a time, a new array each, after one that is not measured. Whoever receives an "
        "array reads each page of it.",
        tuple(
            metric
            for way in WAYS
            for metric in (
                Metric(way, f"{way}: CPU", "ms"),
                Metric(f"{way}_wall", f"{way}: time", "ms"),
            )
        ),
        arrays,
        chosen(EXECUTOR, JOBLIB, RAY),
        (
            *(
                Aim(f"{way}: 1/5 of ProcessPoolExecutor's CPU", way, 1 / 5, (EXECUTOR,))
                for way in WAYS
            ),
            *(Aim(f"{way}: less CPU than joblib and ray", way, 1.0, (JOBLIB, RAY)) for way in WAYS),
        ),
        rounds=(5, 1),
        limit=(120.0, 30.0),
    ),
    Row(
        "partial",
        "`partial(f, five_megabytes)`, 1,000 calls",
        "One `submit` for each call, of the same partial. In a quick run the others make 100.",
        (Metric("cpu", "CPU per call", "µs"), RATE, TASKS),
        partials,
        chosen(EXECUTOR, POOL, JOBLIB),
        (Aim("CPU per call 1/100 of ProcessPoolExecutor's", "cpu", 1 / 100, (EXECUTOR,)),),
        rounds=(3, 1),
        limit=(120.0, 4.0),
    ),
    Row(
        "closure",
        "A closure over 5 MB, 1,000 calls",
        "As before, with a function that the standard library refuses.",
        (Metric("cpu", "CPU per call", "µs"), RATE, TASKS),
        closures,
        chosen(EXECUTOR, LOKY, JOBLIB),
        (
            Aim("it works, and below 1 ms of CPU per call", "cpu", 1000.0),
            Aim("1/100 of loky's", "cpu", 1 / 100, (LOKY,)),
        ),
        reference=LOKY,
        rounds=(3, 1),
        limit=(120.0, 4.0),
    ),
)
