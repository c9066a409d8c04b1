"""Tasks that take a while: how well the workers are kept busy."""

from __future__ import annotations

import os
import time

from benchmarks import workload
from benchmarks.accounting import Window
from benchmarks.candidates import WORKERS
from benchmarks.model import EXECUTOR, POOL, Aim, Metric, Row, Values, Variant, chosen, warm
from benchmarks.rows.tiny import CPU, costs


def skewed(variant: Variant, quick: bool) -> Values:  # noqa: FBT001, ARG001
    """Measure a `map` of sleeps, the long ones side by side, where a chunk would hold several."""
    short, middling, long = [0.0002] * 450, [0.002] * 45, [0.1] * 10
    return _mapped(variant, short + middling + long + middling + short)


def ordered(variant: Variant, quick: bool) -> Values:  # noqa: FBT001, ARG001
    """Measure a `map` of sleeps, the long ones last, where many others went into each chunk."""
    return _mapped(variant, [0.0] * 20_000 + [0.02] * 50)


def _mapped(variant: Variant, items: list[float]) -> Values:
    pool = variant.open()
    warm(pool)
    began = time.perf_counter()
    lasted = pool.map(workload.lasting, items)
    makespan = time.perf_counter() - began
    pool.close()
    ideal = max(sum(lasted) / WORKERS, *lasted)
    return {"excess": makespan / ideal, "makespan": makespan * 1000}


def millisecond(variant: Variant, quick: bool) -> Values:  # noqa: FBT001
    """Measure tasks of one millisecond of processor time each, between two runs of bare loops."""
    tasks = 600 if quick else 2000
    before = _bare(tasks // WORKERS)
    pool = variant.open()
    warm(pool)
    with Window() as window:
        pool.calls(workload.busy, tasks)
    pool.close()
    after = _bare(tasks // WORKERS)
    share = (before + after) / 2 / window.wall
    return {"share": share * 100, **costs(window, tasks)}


def _bare(each: int) -> float:
    """Return the seconds in which forked children do as much without any pool."""
    began = time.perf_counter()
    children: list[int] = []
    for _ in range(WORKERS):
        pid = os.fork()
        if not pid:
            for number in range(each):
                workload.busy(number)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    return time.perf_counter() - began


#: What rows of unequal durations tell, and how near to the possible they are to come.
MAKESPAN = (
    Metric("excess", "time over the possible", "", ratio=False),
    Metric("makespan", "time", "ms"),
)
NEARLY = Aim("within 1.1 of the possible", "excess", 1.1)

ROWS = (
    Row(
        "skew",
        "`map` of very unequal durations, default arguments",
        "1,000 tasks: 900 sleep for 0.2 ms, 90 for 2 ms, and 10, side by side, for 100 ms. The "
        "measure is the time it takes over what it must: half of the sum of the durations as they "
        "were in the workers, or the longest of them.",
        MAKESPAN,
        skewed,
        chosen(EXECUTOR, POOL),
        (NEARLY,),
        rounds=(5, 1),
    ),
    Row(
        "order",
        "`map` of very unequal durations in order, default arguments",
        "20,000 tasks that sleep for no time, and then 50 that do for 20 ms. The measure is that "
        "of the row above.",
        MAKESPAN,
        ordered,
        chosen(EXECUTOR, POOL),
        (NEARLY,),
        rounds=(5, 1),
    ),
    Row(
        "millisecond",
        "Tasks of 1 ms",
        "2,000 tasks (600 in a quick run) of 1 ms of processor time, one `submit` each, against "
        "two forked children that do the same in bare loops, right before and after, in the mean.",
        (
            Metric("share", "of the bare loops' rate", "%", more=True, ratio=False),
            Metric("rate", "rate", "/s", more=True),
            CPU,
        ),
        millisecond,
        chosen(EXECUTOR, POOL),
        (Aim("95 per cent of the rate of bare forked loops", "share", 95.0),),
        rounds=(5, 1),
    ),
)
