"""Our cluster beside others', and beside a pool that has no cluster."""

from __future__ import annotations

import os
import statistics
import time

from benchmarks import accounting, workload
from benchmarks.accounting import Window
from benchmarks.candidates import library
from benchmarks.clusters import DASK, IPYPARALLEL, PARSL, PEERS, TRIPS, ZMQ
from benchmarks.model import EXECUTOR, RAY, Aim, Metric, Row, Values, Variant, named, warm
from benchmarks.rows.data import LENGTH
from benchmarks.rows.idling import MEGABYTE
from benchmarks.rows.starting import first_result
from benchmarks.rows.tiny import CPU, RATE, TASKS, latencies, submit

OURS = (ZMQ,)
#: So much goes there and back.
ARRAY = LENGTH * 8 * 2 / MEGABYTE


def latency(variant: Variant, quick: bool) -> Values:  # noqa: FBT001 - see Row
    """Measure one call after the other."""
    return latencies(variant, (1000 if quick else 5000) // (5 if variant.label in PEERS else 1))


def echo(variant: Variant, quick: bool) -> Values:  # noqa: FBT001
    """Measure arrays there and back, of which each page is read in the end."""
    numpy = library("numpy")
    pool = variant.open()
    warm(pool)
    pool.call(workload.same, numpy.ones(LENGTH))
    cpu: list[float] = []
    wall: list[float] = []
    for number in range(3 if quick else 8):
        given = numpy.full(LENGTH, float(number))
        with Window() as window:
            workload.touch(pool.call(workload.same, given))
        cpu.append(window.cpu)
        wall.append(window.wall)
    pool.close()
    return {"rate": ARRAY / statistics.median(wall), "cpu": statistics.median(cpu) * 1000}


def idle(variant: Variant, quick: bool) -> Values:  # noqa: FBT001
    """Measure a cluster that has done a few tasks, and then nothing for seconds."""
    pool = variant.open()
    warm(pool)
    time.sleep(1.0)  # until what ends late has ended
    with Window() as window:
        began = time.thread_time()
        time.sleep(4 if quick else 20)
        sleeper = time.thread_time() - began  # that is our own, not the pool's
    tree = accounting.tree_memory()
    processes = len(accounting.descendants(os.getpid()))
    pool.close()
    return {
        "idle": (window.cpu - sleeper) / window.wall * 100,
        "tree": tree / MEGABYTE,
        "processes": float(processes),
    }


def _everyone(_: bool) -> list[Variant]:  # noqa: FBT001 - a Row's callable
    return named(ZMQ, EXECUTOR, *PEERS)


ROWS = (
    Row(
        "cluster-submit",
        "No-op tasks on a cluster, one `submit` each",
        "As in the row `submit`; all but ours get a tenth of the tasks.",
        (CPU, RATE, TASKS),
        submit,
        _everyone,
        (
            Aim("CPU per task below ProcessPoolExecutor's", "cpu", 1.0, (EXECUTOR,), OURS),
            Aim("1/20 of dask's", "cpu", 1 / 20, (DASK,), OURS),
            Aim("1/20 of ipyparallel's", "cpu", 1 / 20, (IPYPARALLEL,), OURS),
            Aim("1/10 of ray's", "cpu", 1 / 10, (RAY,), OURS),
            Aim("1/10 of parsl's", "cpu", 1 / 10, (PARSL,), OURS),
        ),
        limit=(120.0, 90.0),
    ),
    Row(
        "cluster-latency",
        "One call at a time on a cluster",
        "As in the row `latency`. For comparison two round trips of small messages between two "
        "processes, DEALER to ROUTER on a local socket, which is what a task's way takes at least "
        "from program to head to node and back.",
        (
            Metric("p50", "median", "µs"),
            Metric("p99", "99th percentile", "µs"),
            Metric("cpu", "CPU per task", "µs"),
        ),
        latency,
        lambda _: named(ZMQ, TRIPS, EXECUTOR, *PEERS),
        (
            Aim("within 2 x of ProcessPoolExecutor's", "p50", 2.0, (EXECUTOR,), OURS),
            Aim("within 4 x of two ZeroMQ round trips", "p50", 4.0, (TRIPS,), OURS),
            Aim("below every other cluster's", "p50", 1.0, PEERS, OURS),
        ),
        limit=(120.0, 90.0),
    ),
    Row(
        "cluster-echo",
        "A NumPy array of 64 MB to a cluster, and back",
        "One call at a time, a new array each. The rate counts both ways.",
        (Metric("rate", "rate", "MB/s", more=True), Metric("cpu", "CPU", "ms")),
        echo,
        _everyone,
        (Aim("faster than ProcessPoolExecutor", "rate", 1.0, (EXECUTOR,), OURS),),
        limit=(120.0, 90.0),
    ),
    first_result(
        "cluster-first",
        "The first result of a cluster",
        _everyone,
        (
            Aim("from the import 1/3 of dask's", "pool", 1 / 3, (DASK,), OURS),
            Aim("from the import 1/3 of ray's", "pool", 1 / 3, (RAY,), OURS),
        ),
        limit=(60.0, 60.0),
    ),
    Row(
        "cluster-idle",
        "An idle cluster",
        "Processor time of all its processes and the program's, in per cent of one CPU, and memory "
        "(proportional set size), while nothing is asked of it.",
        (
            Metric("idle", "CPU, idle", "%"),
            Metric("tree", "all, PSS", "MB"),
            Metric("processes", "processes", "", ratio=False),
        ),
        idle,
        _everyone,
        (Aim("below 0.5 per cent of a CPU", "idle", 0.5, (), OURS),),
        reference=None,
        limit=(120.0, 60.0),
    ),
)
