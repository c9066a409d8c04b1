"""From what the rounds gave to medians, ratios, and whether an aim is reached."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.model import OURS, PEERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.model import Aim, Row, Values

#: By variant: what each round gave.
Results = dict[str, "list[Values]"]


@dataclass(frozen=True)
class Verdict:
    """How far one of ours came; *reached* is None where there is nothing to compare."""

    label: str
    reached: float | None
    met: bool


def typical(rounds: Sequence[Values], key: str) -> float | None:
    """Return the median over the rounds, None if none gave a number."""
    numbers = [value for values in rounds if isinstance(value := values.get(key), float)]
    return statistics.median(numbers) if numbers else None


def ratios(
    results: Results, label: str, against: tuple[str, ...], key: str, *, more: bool
) -> list[float]:
    """Return, for each round, the value over the best one of *against* in the same round."""
    found: list[float] = []
    for number, values in enumerate(results[label]):
        own = values.get(key)
        others = [
            value
            for other in against
            if number < len(results.get(other, ()))
            and isinstance(value := results[other][number].get(key), float)
        ]
        best = (max if more else min)(others, default=0.0)
        if isinstance(own, float) and best:
            found.append(own / best)
    return found


def verdicts(row: Row, aim: Aim, results: Results) -> list[Verdict]:
    """Return how each of ours stands to *aim*."""
    metric = next(metric for metric in row.metrics if metric.key == aim.metric)
    against = tuple(set(results).difference(OURS)) if aim.against == PEERS else aim.against
    found: list[Verdict] = []
    for label in aim.ours:
        reached: float | None = None
        if not against:
            reached = typical(results[label], aim.metric)
        elif numbers := ratios(results, label, against, aim.metric, more=metric.more):
            worst = min(numbers) if metric.more else max(numbers)
            reached = worst if aim.worst else statistics.median(numbers)
        found.append(Verdict(label, reached, _meets(reached, aim.bound, more=metric.more)))
    return found


def _meets(reached: float | None, bound: float, *, more: bool) -> bool:
    if reached is None or math.isnan(reached):
        return False
    return reached >= bound if more else reached <= bound
