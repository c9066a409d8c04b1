"""Several items of a map in one task, each with an outcome of its own."""

from __future__ import annotations

import itertools
import sys
import time

from polyexec._names import name_of
from polyexec.serialization.destinations import MAINS
from polyexec.serialization.exceptions import dumps_exception, loads_exception
from polyexec.serialization.functions import Wrapper, is_constant
from polyexec.serialization.items import (
    PackedItems,
    how_alike,
    pack_items,
    ride_together,
    unpack_items,
)
from polyexec.serialization.payloads import reduced_once

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

MAX_ITEMS = 1 << 14
#: A chunk of large items gains nothing, and costs copies of them.
MAX_BYTES = 1 << 19
#: A chunk that takes this part of the time is small, and what still smaller ones gain costs more.
_SMALL = 1 / 5


class ChunkOutcome:
    """What a chunk's items came to, and the seconds that they took together.

    *values* has one for each item; *errors* has, by place, the exception of each that has none. If
    they are *numbers*, and so all are small, it is no matter how long the values are kept.
    """

    def __init__(
        self,
        values: list[Any],
        errors: dict[int, BaseException],
        seconds: float,
        numbers: bool = False,  # noqa: FBT001, FBT002 - as pickled
    ) -> None:
        self.values = values
        self.errors = errors
        self.seconds = seconds
        self.numbers = numbers

    @property
    def weight(self) -> int:
        """About how many bytes the first value has."""
        return weight_of(self.values[0]) if self.values else 0

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.errors:
            alike = how_alike(self.values)
            if alike is not None or len(self.values) == 1:
                return (ChunkOutcome, (self.values, {}, self.seconds, alike == "numbers"))
        return reduced_once(self, self._packed)

    def _packed(self) -> tuple[Any, ...]:
        errors = {place: dumps_exception(error) for place, error in self.errors.items()}
        return (_restore_outcome, (pack_items(self.values), errors, self.seconds))


def _restore_outcome(
    packed: PackedItems, packed_errors: dict[int, bytes], seconds: float
) -> ChunkOutcome:
    # In the thread that asks for them, which may be struck by Ctrl-C, and ask again.
    values, errors = _unpacked(packed, interruptible=True)
    errors |= {place: loads_exception(error) for place, error in packed_errors.items()}
    return ChunkOutcome(values, errors, seconds)


def _unpacked(
    packed: PackedItems, *, interruptible: bool = False
) -> tuple[list[Any], dict[int, BaseException]]:
    found = unpack_items(packed, interruptible=interruptible)
    errors = {place: error for place, (_, error) in enumerate(found) if error is not None}
    return [value for value, _ in found], errors


class Items:
    """The arguments of a chunk's calls, of which one that can't be pickled spoils no other.

    Each is a tuple of arguments; if *single*, it is the only argument itself. A range of them goes
    as a range. *errors* has, by place, what kept an item from arriving.
    """

    def __init__(
        self,
        items: Sequence[Any],
        *,
        single: bool = False,
        errors: dict[int, BaseException] | None = None,
    ) -> None:
        self.items = items
        self.single = single
        self.errors: dict[int, BaseException] = errors or {}

    @property
    def weight(self) -> int:
        """About how many bytes the largest argument of the first item has."""
        first = () if not self.items else self.items[:1] if self.single else self.items[0]
        return max(map(weight_of, first), default=0)

    def __reduce__(self) -> tuple[Any, ...]:
        items, single = self.items, self.single
        # Where there is one item, there is no other to be spared, and its buffers stay visible.
        if len(items) == 1 or self._are_plain():
            return (_restore_plain, (items, single))
        return reduced_once(self, self._packed)

    def _are_plain(self) -> bool:
        if isinstance(self.items, range):
            return True
        items = self.items if self.single else [*itertools.chain.from_iterable(self.items)]
        return ride_together(items)

    def _packed(self) -> tuple[Any, ...]:
        return (_restore_packed, (pack_items(self.items), self.single))


def _restore_plain(items: Sequence[Any], single: bool) -> Items:  # noqa: FBT001 - as pickled
    return Items(items, single=single)


def _restore_packed(packed: PackedItems, single: bool) -> Items:  # noqa: FBT001 - as pickled
    items, errors = _unpacked(packed)
    return Items(items, single=single, errors=errors)


class _Named(Wrapper):
    """Goes by the name of *fn*, in messages."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__(fn)
        self.__qualname__ = name_of(fn)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.fn,))


class Chunk(_Named):
    """A callable that applies *fn* to each of some items; one that fails stops no other.

    It is one for all chunks of a map, so that *fn* need not be pickled with each.
    """

    def __call__(self, items: Items) -> ChunkOutcome:
        begin = time.perf_counter()
        values: list[Any] = []
        errors = dict(items.errors)
        left = iter(items.items)
        while True:
            try:
                self._apply(left, values, errors, items)
                break
            except BaseException as error:  # noqa: BLE001 - the border to the user's task
                errors[len(values)] = error
                values.append(None)
        try:
            return ChunkOutcome(values, errors, time.perf_counter() - begin)
        finally:
            # The tracebacks of errors have this frame: a cycle, which would keep all the items.
            del items, left, values, errors

    def _apply(
        self, left: Iterator[Any], values: list[Any], errors: dict[int, BaseException], items: Items
    ) -> None:
        """Append what *fn* returns for each of those that are *left* of *items*."""
        fn = self.fn
        # One by one: what came before an error counts, and `extend` would take a StopIteration
        # for the end.
        try:
            if items.errors:
                for item in left:
                    args = (item,) if items.single else item
                    values.append(None if len(values) in errors else fn(*args))
            elif items.single:
                for item in left:
                    values.append(fn(item))  # noqa: PERF401
            else:
                for item in left:
                    values.append(fn(*item))  # noqa: PERF401
        finally:
            del left, values, errors, items  # no cycle by the traceback of an error


class Single(_Named):
    """Calls *fn*, all along a map as it was when that began."""

    def __call__(self, *args: Any) -> Any:
        return self.fn(*args)


def one_by_one(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return what calls *fn* with one input at a time: that itself, if it can't change."""
    is_ours = is_constant(fn) and not isinstance(fn, type) and fn.__module__ in MAINS
    return Single(fn) if is_ours else fn


def weight_of(value: Any) -> int:
    """Return about how many bytes *value* has, as far as can be told at once."""
    try:
        size = getattr(value, "nbytes", None)  # an array
        return size if isinstance(size, int) else sys.getsizeof(value)
    except Exception:  # noqa: BLE001 - the user's __getattr__ or __sizeof__
        return 0


class FixedSize:
    """Chunks of one size."""

    #: Whether nothing is known yet, and whether sizes are about to be larger than they may be.
    untried: bool = False
    growing: bool = False

    def __init__(self, size: int) -> None:
        self.size = size

    def sent(self, items: int) -> None:
        """Take note of nothing."""

    def learn(self, items: int, seconds: float, weight: int = 0) -> None:
        """Take note of nothing."""


class AdaptiveSize:
    """Chunks of about *seconds* each, small enough that the last ones end together.

    Fixed chunks of a size that suits tiny items cost up to 1.6 times the ideal on skewed ones,
    chunks of one cost a task's overhead for each item. So it starts with one, and never puts more
    into a chunk than it has learned of before, or than a fraction of what is left, where that is
    known. That is a small fraction; but of little work it is a larger one, or there would be very
    many chunks of nearly nothing.
    """

    def __init__(self, remaining: int, workers: int, seconds: float) -> None:
        self._remaining = remaining
        self._workers = workers
        self._share = 4 * workers
        self._target = seconds
        self._seconds = seconds
        self._learned = 0
        self._weight = 1

    @property
    def size(self) -> int:
        """How many items the next chunk shall have."""
        most = wanted = min(self._wanted, self._learned)
        if self._remaining > 0:
            share, larger = self._remaining // self._share, self._remaining // self._workers
            wanted = min(most, max(share, min(int(most * _SMALL), larger)))
        return max(wanted, 1)

    @property
    def untried(self) -> bool:
        """Whether nothing is known of the items yet."""
        return not self._learned

    @property
    def growing(self) -> bool:
        """Whether sizes are about to be larger than they may be yet."""
        return 0 < self._learned < self._wanted

    @property
    def _wanted(self) -> int:
        return min(int(self._target / self._seconds), MAX_ITEMS, MAX_BYTES // self._weight)

    def sent(self, items: int) -> None:
        """Take note that so many are in chunks now, and not left any more."""
        self._remaining -= items

    def learn(self, items: int, seconds: float, weight: int = 0) -> None:
        """Take note that a chunk of *items* took *seconds*, and of how many bytes one has."""
        self._weight = max(weight, 1)
        each = max(seconds / items, 1e-9)
        self._seconds = 0.7 * self._seconds + 0.3 * each if self._learned else each
        self._learned += items
