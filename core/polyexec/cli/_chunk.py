"""What runs in a worker: a function over a few items, with every outcome already turned into text.

Text always travels, whatever the function returned or raised, so one item that will not pickle
cannot fail its neighbours. Nothing here imports click or rich, which a worker may lack.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from polyexec.cli._messages import describe, full_traceback

if TYPE_CHECKING:
    from collections.abc import Callable


class Outcome(NamedTuple):
    """What became of one item: a *line* of output, an *error*, or both with `--json`."""

    line: str | None
    error: str | None = None
    traceback: str = ""


class ChunkOutcome(NamedTuple):
    """What became of a chunk's items, or the first ones if time ran out, and the time taken."""

    outcomes: list[Outcome]
    seconds: float


@dataclass(frozen=True)
class Job:
    """A function and how to treat its items; it travels with every chunk.

    With *raising* an item's exception fails the whole task, as the executor's retries need it.
    After *budget* seconds a chunk returns what it has, so that slow items among tiny ones are
    shared out again.
    """

    function: Callable[[str], Any]
    as_json: bool = False
    tracebacks: bool = False
    raising: bool = False
    budget: float | None = None

    def run(self, items: list[str]) -> ChunkOutcome:
        """Apply the function to *items*, one after the other."""
        apply = self._line if self.raising else self._outcome
        outcomes: list[Outcome] = []
        start = time.perf_counter()
        end = start + (float("inf") if self.budget is None else self.budget)
        for item in items:
            outcomes.append(apply(item))
            if time.perf_counter() > end:
                break
        return ChunkOutcome(outcomes, time.perf_counter() - start)

    def failure(self, item: str, error: BaseException, *, skip: int = 0) -> Outcome:
        """Return the outcome of an *item* for which *error* was raised."""
        text = describe(error)
        line = json.dumps({"item": item, "error": text}) if self.as_json else None
        return Outcome(line, text, full_traceback(error, skip=skip) if self.tracebacks else "")

    def _outcome(self, item: str) -> Outcome:
        try:
            return self._line(item)
        except BaseException as error:  # noqa: BLE001 - the border to a user's function; sys.exit too
            return self.failure(item, error, skip=2)

    def _line(self, item: str) -> Outcome:
        result = self.function(item)
        if self.as_json:
            return Outcome(json_line(item, result))
        return Outcome("" if result is None else str(result))


def json_line(item: str, result: object) -> str:
    """Return one JSON object with *item* and *result*, or its repr if JSON has no form for it."""
    try:
        return json.dumps({"item": item, "result": result}, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps({"item": item, "repr": repr(result)})
