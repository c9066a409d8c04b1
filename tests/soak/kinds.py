"""The kinds of tasks: how each is submitted, and how it must end."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import numpy as np

from polyexec import TaskTimeoutError, WorkerLostError
from soak import chores

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyexec import Executor, Future
    from soak.ledger import Ledger

MEGABYTE = 1 << 20
#: More than any task loses workers.
RETRIES = 10_000
#: Seconds for whatever must happen by itself; afterwards it counts as hanging.
PATIENCE = 120.0


class Kind:
    """Plain: retried until it has its own number as result."""

    name = "plain"
    share = 0.8

    def submit(self, executor: Executor, number: int, ledger: Ledger) -> Future[Any]:
        """Submit a task of this kind."""
        del ledger
        return executor.options(retries=RETRIES).submit(chores.same, number)

    def fault(self, future: Future[Any], number: int, ledger: Ledger) -> str | None:
        """Wait until the task ends, and return what is wrong with that."""
        del ledger
        return differs(future.result(PATIENCE), number)


class Once(Kind):
    """Never retried: has its result, or has lost its worker."""

    name = "once"
    share = 0.1

    def submit(self, executor: Executor, number: int, ledger: Ledger) -> Future[Any]:
        """Submit it with the file to write to."""
        return executor.submit(chores.note, number, str(ledger.notes))

    def fault(self, future: Future[Any], number: int, ledger: Ledger) -> str | None:
        """Expect one of the two."""
        if isinstance(future.exception(PATIENCE), WorkerLostError):
            ledger.count(lost=1)
            return None
        ledger.succeeded_once(number)
        return differs(future.result(), number)


class Large(Kind):
    """A megabyte to the worker, and back."""

    name = "large"
    share = 0.049
    size = MEGABYTE

    def submit(self, executor: Executor, number: int, ledger: Ledger) -> Future[Any]:
        """Submit an array that is of this number alone."""
        del ledger
        array = np.full(self.size, number % 251, dtype=np.uint8)
        array[:8] = np.frombuffer(number.to_bytes(8, "little"), dtype=np.uint8)
        future = executor.options(retries=RETRIES).submit(chores.overwrite, array)
        array[:] = 255  # what is changed after submit, nobody may see
        return future

    def fault(self, future: Future[Any], number: int, ledger: Ledger) -> str | None:
        """Expect the array's sum, and each item one larger."""
        del ledger
        digits = number.to_bytes(8, "little")
        total, array = future.result(PATIENCE)
        rest = array[8:]
        return (
            differs(total, sum(digits) + (self.size - 8) * (number % 251))
            or differs(bytes(array[:8]), bytes((digit + 1) % 256 for digit in digits))
            or differs((rest.min(), rest.max()), (number % 251 + 1, number % 251 + 1))
        )


class Huge(Large):
    """So large that both ends use it in the memory that they share."""

    name = "huge"
    share = 0.001
    size = 6 * MEGABYTE


class Failing(Kind):
    """Raises an error of its own."""

    name = "failing"
    share = 0.03

    def submit(self, executor: Executor, number: int, ledger: Ledger) -> Future[Any]:
        """Submit it."""
        del ledger
        return executor.options(retries=RETRIES).submit(chores.fail, number)

    def fault(self, future: Future[Any], number: int, ledger: Ledger) -> str | None:
        """Expect that error."""
        del ledger
        error = future.exception(PATIENCE)
        return differs((type(error), getattr(error, "args", None)), (LookupError, (number,)))


class Timed(Kind):
    """Has a timeout, and is sooner."""

    name = "timed"
    share = 0.018

    def submit(self, executor: Executor, number: int, ledger: Ledger) -> Future[Any]:
        """Submit it with time enough."""
        del ledger
        options = executor.options(retries=RETRIES, timeout=PATIENCE / 2)
        return options.submit(chores.same, number)


class Late(Kind):
    """Runs into its timeout."""

    name = "late"
    share = 0.001

    def submit(self, executor: Executor, number: int, ledger: Ledger) -> Future[Any]:
        """Submit what never ends."""
        del number, ledger
        return executor.options(retries=RETRIES, timeout=0.05).submit(chores.hang)

    def fault(self, future: Future[Any], number: int, ledger: Ledger) -> str | None:
        """Expect TaskTimeoutError."""
        del number, ledger
        return differs(type(future.exception(PATIENCE)), TaskTimeoutError)


class Stopped(Kind):
    """Is cancelled, running or not."""

    name = "stopped"
    share = 0.001

    def submit(self, executor: Executor, number: int, ledger: Ledger) -> Future[Any]:
        """Submit what never ends."""
        del number, ledger
        return executor.options(retries=RETRIES).submit(chores.hang)

    def fault(self, future: Future[Any], number: int, ledger: Ledger) -> str | None:
        """Cancel it until it has ended: as its worker is lost it may be neither here nor there."""
        del number, ledger
        while not future.done():
            future.cancel(running=True)
        try:
            return differs(future.exception(PATIENCE), "cancelled")
        except CancelledError:
            return None


KINDS: list[Kind] = [Kind(), Once(), Large(), Huge(), Failing(), Timed(), Late(), Stopped()]


def differs(found: object, wanted: object) -> str | None:
    """Return how *found* is not what was *wanted*, None if it is."""
    return None if found == wanted else f"{found!r:.200} instead of {wanted!r:.200}"


def checked(kind: Kind, future: Future[Any], number: int, ledger: Ledger) -> None:
    """Wait for a task, and enter what is wrong with it."""
    try:
        fault = kind.fault(future, number, ledger)
    except Exception as error:  # noqa: BLE001 - whatever it is, the report has it
        fault = repr(error)
    if fault is not None:
        ledger.fault(f"task {number} ({kind.name}, {future!r}): {fault}")
    ledger.count(retries=max(future.attempts - 1, 0))


def caller(ledger: Ledger, number: int) -> Callable[[object], None]:
    """Return what a future of that *number* is to call back."""
    return lambda _: ledger.ended(number)
