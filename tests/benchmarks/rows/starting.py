"""How soon there is a first result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.candidates import POOLS
from benchmarks.model import EXECUTOR, OURS, Aim, Metric, Row, Values, Variant, named

if TYPE_CHECKING:
    from collections.abc import Callable

METHODS = ("fork", "forkserver", "spawn")
STANDARD = (EXECUTOR, f"{EXECUTOR}, forkserver", f"{EXECUTOR}, spawn")


def _never(variant: Variant, quick: bool) -> Values:  # noqa: FBT001
    """Refuse: `first.py` measures it."""
    raise AssertionError(f"{variant.label} is measured by first.py ({quick=})")


def first_result(
    name: str,
    title: str,
    variants: Callable[[bool], list[Variant]],
    aims: tuple[Aim, ...],
    limit: tuple[float, float],
    *,
    more: tuple[Metric, ...] = (),
) -> Row:
    """Return a row that `first.py` measures, with what it tells *more* where pools import apart."""
    return Row(
        name,
        title,
        "In a fresh interpreter: from its start; from the import of the library; and, where told, "
        "from when all has been imported, and the pool itself is made.",
        (Metric("whole", "from the start", "s"), Metric("pool", "from the import", "s"), *more),
        _never,
        variants,
        aims,
        rounds=(11, 3),
        limit=limit,
        program="first.py",
    )


ROWS = (
    first_result(
        "first",
        "The first result",
        lambda quick: named(*OURS, *STANDARD) if quick else named(*POOLS),
        tuple(
            Aim(
                f"{method}: {what} no later than ProcessPoolExecutor's",
                key,
                1.0,
                (standard,),
                (ours,),
            )
            for method, ours, standard in zip(METHODS, OURS, STANDARD, strict=True)
            for key, what in (
                ("whole", "from the start"),
                ("pool", "from the import"),
                ("made", "from the pool"),
            )
        ),
        limit=(60.0, 20.0),
        more=(Metric("made", "from the pool", "s"),),
    ),
)
