"""Several items of a map in one task, each with an outcome of its own."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from polyexec.serialization.items import PackedItems, pack_items, unpack_items
from polyexec.task import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TARGET_SECONDS = 0.01
MAX_ITEMS = 4096
#: A chunk of large items gains nothing, and costs copies of them.
MAX_BYTES = 1 << 16


class Outcome(NamedTuple):
    """What one item came to: an exception, or else a value."""

    value: Any
    error: BaseException | None = None


class ChunkOutcome:
    """The outcomes of a chunk's items in order, and the seconds that they took together."""

    def __init__(self, outcomes: list[Outcome], seconds: float) -> None:
        self.outcomes = outcomes
        self.seconds = seconds

    @property
    def weight(self) -> int:
        """About how many bytes the first value has."""
        return weight_of([outcome.value for outcome in self.outcomes[:1]])

    def __reduce__(self) -> tuple[Any, ...]:
        if len(self.outcomes) == 1 and self.outcomes[0].error is None:
            return (_restore_single, (self.outcomes[0].value, self.seconds))
        values = pack_items([outcome.value for outcome in self.outcomes])
        errors = {
            place: outcome.error
            for place, outcome in enumerate(self.outcomes)
            if outcome.error is not None
        }
        packed = pack_items(list(errors.values()))
        return (_restore_outcome, (values, list(errors), packed, self.seconds))


def _restore_single(value: Any, seconds: float) -> ChunkOutcome:
    return ChunkOutcome([Outcome(value)], seconds)


def _restore_outcome(
    values: PackedItems, places: list[int], errors: PackedItems, seconds: float
) -> ChunkOutcome:
    outcomes = [Outcome(value, error) for value, error in unpack_items(values)]
    for place, (error, failure) in zip(places, unpack_items(errors), strict=True):
        outcomes[place] = Outcome(None, failure or error)
    return ChunkOutcome(outcomes, seconds)


class Chunk:
    """A callable that applies *fn* to each of its items; one that fails stops no other."""

    def __init__(self, fn: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> None:
        self.fn = fn
        self.weight: int = max((weight_of([part]) for part in items[0]), default=0) if items else 0
        self.items: list[Outcome] = [Outcome(item) for item in items]
        self.__qualname__ = name_of(fn)

    def __call__(self) -> ChunkOutcome:
        begin = time.perf_counter()
        outcomes = [self._apply(item) for item in self.items]
        return ChunkOutcome(outcomes, time.perf_counter() - begin)

    def _apply(self, item: Outcome) -> Outcome:
        if item.error is not None:
            return item
        try:
            return Outcome(self.fn(*item.value))
        except BaseException as error:  # noqa: BLE001 - the border to the user's task
            return Outcome(None, error)

    def __reduce__(self) -> tuple[Any, ...]:
        if len(self.items) == 1:  # no other to be spared, and its large buffers stay visible
            return (Chunk, (self.fn, [self.items[0].value]))
        return (_restore_chunk, (self.fn, pack_items([item.value for item in self.items])))


def _restore_chunk(fn: Callable[..., Any], items: PackedItems) -> Chunk:
    chunk = Chunk(fn, ())
    chunk.items = [Outcome(value, error) for value, error in unpack_items(items)]
    return chunk


def weight_of(values: Sequence[Any]) -> int:
    """Return about how many bytes the first of *values* has, as far as can be told at once."""
    if not values:
        return 0
    value = values[0]
    try:
        size = getattr(value, "nbytes", None)  # an array
        return size if isinstance(size, int) else sys.getsizeof(value)
    except Exception:  # noqa: BLE001 - the user's __getattr__ or __sizeof__
        return 0


class FixedSize:
    """Chunks of one size."""

    def __init__(self, size: int) -> None:
        self.size = size

    def learn(self, items: int, seconds: float, weight: int = 0) -> None:
        """Take note of nothing."""


class AdaptiveSize:
    """Chunks of about `TARGET_SECONDS` each, small enough that the last ones end together.

    Fixed chunks of a size that suits tiny items cost up to 1.6 times the ideal on skewed ones,
    chunks of one cost a task's overhead for each item. So it starts with one, at most doubles,
    and never puts more into a chunk than a fraction of what is left, where that is known.
    """

    def __init__(self, remaining: int, workers: int) -> None:
        self._remaining = remaining
        self._share = 4 * workers
        self._seconds = TARGET_SECONDS
        self._last = 1
        self._weight = 1

    @property
    def size(self) -> int:
        """How many items the next chunk shall have."""
        wanted = min(int(TARGET_SECONDS / self._seconds), 2 * self._last, MAX_ITEMS)
        wanted = min(wanted, MAX_BYTES // self._weight)
        if self._remaining > 0:
            wanted = min(wanted, self._remaining // self._share)
        return max(wanted, 1)

    def learn(self, items: int, seconds: float, weight: int = 0) -> None:
        """Take note that a chunk of *items* took *seconds*, and of how many bytes one has."""
        self._weight = max(weight, 1)
        self._last = max(items, self._last)
        self._remaining -= items
        self._seconds = 0.7 * self._seconds + 0.3 * max(seconds / items, 1e-9)
