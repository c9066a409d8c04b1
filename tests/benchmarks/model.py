"""What a row of the benchmarks consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import clusters

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.candidates import Candidate

OURS = ("polyexec fork", "polyexec forkserver", "polyexec spawn")
EXECUTOR = "ProcessPoolExecutor"
POOL = "multiprocessing.Pool"
LOKY = "loky"
JOBLIB = "joblib"
RAY = "ray"
PEERS = (EXECUTOR, POOL, LOKY, JOBLIB, "mpire", "pebble")
HEAVY = {EXECUTOR, LOKY, "mpire", "pebble", RAY, *clusters.PEERS}

#: What one measurement gives: a number for each metric, or a sentence instead.
Values = dict[str, "float | str"]


@dataclass(frozen=True)
class Variant:
    """One line of a row's table, of *pool* in `clusters.find` (the label's, if not given).

    *parameter*: the chunk size, where there is one.
    """

    label: str
    pool: str = ""
    parameter: int | None = None

    @property
    def heavy(self) -> bool:
        """Return whether it gets a tenth of the tasks, or fewer, for it costs so much."""
        return (self.pool or self.label) in HEAVY

    def open(self) -> Candidate:
        """Make the pool."""
        kind, method = clusters.find(self.pool or self.label)
        return kind(method, self.parameter)


@dataclass(frozen=True)
class Metric:
    """A column: the values are in *unit*, and less is better, unless *more* is."""

    key: str
    title: str
    unit: str
    more: bool = False
    ratio: bool = True

    @property
    def heading(self) -> str:
        """Return the title, with the unit if there is one."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title


@dataclass(frozen=True)
class Aim:
    """What a metric of ours should reach.

    *bound* is for its ratio to that of *against*, the best of which counts in each round; for
    the value itself if there is none. *worst*: it should hold in every round, not in the median.
    """

    text: str
    metric: str
    bound: float
    against: tuple[str, ...] = ()
    ours: tuple[str, ...] = OURS
    worst: bool = False


@dataclass(frozen=True)
class Row:
    """A benchmark. Pairs are for a full run and for a quick one."""

    name: str
    title: str
    about: str
    metrics: tuple[Metric, ...]
    measure: Callable[[Variant, bool], Values]
    variants: Callable[[bool], list[Variant]]
    aims: tuple[Aim, ...] = ()
    reference: str | None = EXECUTOR
    rounds: tuple[int, int] = (5, 1)
    #: Seconds after which a measurement is given up.
    limit: tuple[float, float] = (120.0, 20.0)
    program: str = "measure.py"


def named(*labels: str) -> list[Variant]:
    """Return the pools of these labels."""
    return [Variant(label) for label in labels]


def everyone(quick: bool) -> list[Variant]:  # noqa: FBT001 - a Row's callable
    """Return one of each kind; ray, which takes seconds to start, in a full run only."""
    found = named(*OURS, *PEERS)
    return found if quick else [*found, Variant(RAY)]


def chosen(*labels: str) -> Callable[[bool], list[Variant]]:
    """Return a Row's callable: everyone, but in a quick run ours and these."""
    return lambda quick: named(*OURS, *labels) if quick else everyone(quick)


def warm(candidate: Candidate) -> None:
    """Have both workers started, and the tasks' module imported there."""
    from benchmarks import workload

    candidate.map(workload.nap, [0.05] * 4)
    candidate.map(workload.same, list(range(100)))
