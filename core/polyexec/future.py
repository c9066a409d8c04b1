"""The Future: `concurrent.futures.Future`, at a fraction of its cost.

Most of what a tiny task costs in the standard library is its future's Condition and two lists.
Here they are made when somebody asks for them: `_condition`, `_waiters` and `_done_callbacks` keep
the names and the meaning that `concurrent.futures.wait`, `as_completed` and asyncio rely on, but
until then a future is one object: alone, without the company of those who wait for it and of what
they wait with. The first who comes makes that, and with it the lock. The Condition wraps that same
lock, so holding `_condition` excludes every change of state, and notifying it wakes everyone in
`result()`, though those wait by a lock of their own: Ctrl-C may strike as a Condition lets go of
its.

A future that is alone may change its state without a lock, in lines that call nothing: where
threads share the interpreter's lock, that passes on only at calls and at loops' ends, so that
nobody comes in between. (But for a debugger, which calls something at each line. So whoever ends
one looks for company again.) Where there is no such lock each future has company from the start.
One lock for all would be held while a finalizer or a signal's handler runs, which may wait for
whatever needs it.

A future that an executor handed out is bound to its Task until it ends. Ending has this order:

    state and outcome, Executor._leave,
    waiters, Condition                         under the lock
    the user's callbacks                       outside it, never on a thread that other tasks need
    Executor._task_ended                       so `shutdown(wait=True)` also waits for callbacks
"""

from __future__ import annotations

import concurrent.futures
import logging
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError  # a class of its own on 3.10
from concurrent.futures._base import (
    CANCELLED,
    CANCELLED_AND_NOTIFIED,
    FINISHED,
    PENDING,
    RUNNING,
)
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from polyexec._current import here
from polyexec.interrupts import Interruptible, Uninterrupted
from polyexec.waiting import acquire, wait_in_slices

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from polyexec.task import Task

__all__ = ["UNTRIED", "Alarm", "Future", "Settling", "Waiter"]

T = TypeVar("T")

#: The class, for the function that makes one costs more than it does.
_RLock: Any = type(threading.RLock())
#: Whether threads take turns, by the lock of the interpreter.
_TAKE_TURNS: bool = "t" not in getattr(sys, "abiflags", "") and (
    not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled()
)
#: The worker, the beginning and the number of the last attempt at a task that was not begun.
UNTRIED: tuple[str | None, float | None, int] = (None, None, 0)
_ENDED = frozenset({CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED})
_CANCELLED = frozenset({CANCELLED, CANCELLED_AND_NOTIFIED})
_logger = logging.getLogger("concurrent.futures")


class Waiter(Protocol):
    """What is told, on the finishing thread and under the future's lock, that a future ended."""

    def add_result(self, future: concurrent.futures.Future[Any], /) -> None:
        """Take note that *future* has a result."""

    def add_exception(self, future: concurrent.futures.Future[Any], /) -> None:
        """Take note that *future* has an exception."""

    def add_cancelled(self, future: concurrent.futures.Future[Any], /) -> None:
        """Take note that *future* was cancelled."""


class Alarm:
    """Wakes the one thread that waits for it."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def add_result(self, _: object, /) -> None:
        """Wake it, for the future has ended."""
        if self._lock.locked():  # a future may tell twice that it was cancelled
            self._lock.release()

    def add_exception(self, future: object, /) -> None:
        """Wake it, as above."""
        self.add_result(future)

    def add_cancelled(self, future: object, /) -> None:
        """Wake it, as above."""
        self.add_result(future)

    def wait(self, timeout: float | None) -> bool:
        """Return whether it was woken within *timeout* seconds."""
        return acquire(self._lock, timeout)


class Settling:
    """A callback of our own, which Ctrl-C must not keep from being called, nor leave half done."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[Any], object]) -> None:
        self._call = call

    def __call__(self, future: concurrent.futures.Future[Any]) -> None:
        """Do what is to be done about the *future*, which has ended."""
        with Uninterrupted():
            self._call(future)


class _Condition(threading.Condition):
    """A future's, which wakes those as well who wait for the outcome."""

    def __init__(self, future: Future[Any]) -> None:
        super().__init__(future._lock)
        self._future = weakref.ref(future)

    def notify(self, n: int = 1) -> None:
        super().notify(n)
        future = self._future()
        if future is not None:
            future._ring()


class _Company:
    """Who waits for a future, and what they wait with."""

    __slots__ = ("callbacks", "condition", "lock", "waiters")

    def __init__(self) -> None:
        self.lock: Any = _RLock()
        self.condition: threading.Condition | None = None
        self.waiters: Any = ()
        self.callbacks: Any = ()


class Future(concurrent.futures.Future[T]):
    """The outcome of a task: everything the standard library's future does, and more.

    It can be awaited, and it knows the task's *name*, the *worker* that ran it last, how many
    *attempts* were begun, and when it was submitted, last started and finished, in seconds since
    the epoch; each is None while unknown.
    """

    # A dictionary for each would take most of the time that a tiny task's future costs, and of the
    # memory. It is there if somebody sets something else. Each of these costs time as well, to set
    # it, and whenever the collector looks at it.
    __slots__ = (
        "_attempt",
        "_company",
        "_exception",
        "_load",
        "_result",
        "_state",
        "_task",
        "finished_at",
        "name",
        "submitted_at",
    )

    #: Set once it is known.
    _result: Any

    def __init__(
        self, task: Task | None = None, name: str | None = None, submitted_at: float | None = None
    ) -> None:
        self.name: str | None = name
        self.submitted_at: float | None = submitted_at
        self.finished_at: float | None = None
        self._attempt: tuple[str | None, float | None, int] = UNTRIED
        self._company: _Company | None = None if _TAKE_TURNS else _Company()
        self._state: str = PENDING
        self._exception: BaseException | None = None
        #: What makes the result, until somebody has asked for that.
        self._load: Callable[[], Any] | None = None
        self._task: Task | None = task

    @property
    def worker(self) -> str | None:
        """The worker that ran it last."""
        return self._attempt[0]

    @worker.setter
    def worker(self, worker: str | None) -> None:
        self._attempt = (worker, *self._attempt[1:])

    @property
    def started_at(self) -> float | None:
        """When that began."""
        return self._attempt[1]

    @property
    def attempts(self) -> int:
        """How many attempts were begun."""
        return self._attempt[2]

    def _accompany(self) -> _Company:
        """Make the company, on first use; from then on its lock alone guards this future."""
        if self._company is None:
            made = _Company()
            self._company = self._company or made  # as above: another thread may have made it
        return self._company

    @property
    def _lock(self) -> Any:
        return self._accompany().lock

    @property
    def _done_callbacks(self) -> Any:
        return () if self._company is None else self._company.callbacks

    if TYPE_CHECKING:
        _condition: threading.Condition
        _waiters: Any
    else:

        @property
        def _waiters(self) -> Any:
            return () if self._company is None else self._company.waiters

        @property
        def _condition(self) -> threading.Condition:
            """Make the Condition, on first use."""
            company = self._accompany()
            with company.lock:
                if company.condition is None:
                    company.waiters = list(company.waiters)
                    company.condition = _Condition(self)
                return company.condition

    def __repr__(self) -> str:
        with self._lock:
            state = self._state.lower().replace("cancelled_and_notified", "cancelled")
            if self._exception is not None:
                state += f" raised {type(self._exception).__name__}"
            elif self._state == FINISHED and self._load is None:
                state += f" returned {type(self._result).__name__}"
        return f"<{type(self).__name__} at {id(self):#x} state={state}>"

    def cancel(self, *, running: bool = False) -> bool:
        """Cancel the task unless it runs or has ended; with *running*, stop it if it runs.

        Returns whether the future is cancelled. Raises NotSupportedError for a running task where
        the context can't stop one.
        """
        task = self._task
        with Uninterrupted():  # what was taken back must be told
            if self._state == PENDING and (task is None or task.executor.withdraw(task)):
                self._end_cancelled(PENDING)
            elif (
                running
                and task is not None
                and self._state == RUNNING
                and task.executor.cancel_running(task)
            ):
                self._end_cancelled(PENDING, RUNNING)
        return self._state in _CANCELLED

    def _end_cancelled(self, *states: str) -> bool:
        """End as cancelled, if in one of *states*; return whether it was."""
        with self._lock:
            if self._state not in states:
                return False
            task = self._task
            self._state = CANCELLED if task is None else CANCELLED_AND_NOTIFIED
            if task is not None:
                self.finished_at = time.time()
                task.executor._ledger.leave(task, settling=bool(self._done_callbacks))
            self._tell("add_cancelled", waiters=task is not None)
        self._settle()
        return True

    def cancelled(self) -> bool:
        """Return whether the future was cancelled."""
        return self._state in _CANCELLED

    def running(self) -> bool:
        """Return whether the task is being run."""
        return self._state == RUNNING

    def done(self) -> bool:
        """Return whether the future has ended, cancelled or not."""
        return self._state in _ENDED

    def result(self, timeout: float | None = None) -> T:
        """Return what the task returned, or raise what it raised.

        Blocks for *timeout* seconds at most, then raises `concurrent.futures.TimeoutError`.
        """
        # In this order: whoever makes the result sets that, or the exception, before `_load`.
        if self._state == FINISHED and self._load is None and self._exception is None:
            ready: T = self._result
            return ready
        try:
            self._wait(timeout)
            with self._lock:
                if self._load is not None:
                    self._unpack(self._load)
                if self._exception is not None:
                    raise self._exception
                result: T = self._result
                return result
        finally:
            # The traceback of a raised exception must not keep this future alive in a cycle.
            self = None  # type: ignore[assignment]  # noqa: PLW0642

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the task raised, None if it returned; blocks as `result` does."""
        self._wait(timeout)
        with self._lock:
            if self._load is not None:
                self._unpack(self._load)
            return self._exception

    def _get_snapshot(self) -> tuple[bool, bool, Any, BaseException | None]:
        """Return whether it has ended, whether it was cancelled, its result and its exception.

        asyncio asks so, in Pythons that have this.
        """
        if self._state not in _ENDED:
            return False, False, None, None
        if self._state in _CANCELLED:
            return True, True, None, None
        error = self.exception()
        return True, False, None if error is not None else self._result, error

    def _unpack(self, load: Callable[[], Any]) -> None:
        """Make the result, in the thread that asks for it; called with the lock held."""
        try:
            self._result = load()
        except KeyboardInterrupt:
            raise  # it is the asking thread's, and whoever asks next tries again
        except BaseException as error:  # noqa: BLE001 - the outcome, then
            self._exception = error
        self._load = None

    def _wait(self, timeout: float | None) -> None:
        """Block until the future has ended."""
        if self._state not in _ENDED:
            alarm = Alarm()
            self._watch(alarm)
            try:
                ended = wait_in_slices(partial(self._ends, alarm), timeout)
            finally:
                if self._state not in _ENDED:
                    self._unwatch(alarm)
            if not ended:
                raise FutureTimeoutError
        if self._state in _CANCELLED:
            raise CancelledError

    def _ends(self, alarm: Alarm, timeout: float | None) -> bool:
        """Return whether it ends within *timeout* seconds; *alarm* may ring for nothing."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._state not in _ENDED:
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            if not alarm.wait(left):
                return self._state in _ENDED
        return True

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call *fn* with this future when it ends, at once if it has."""
        company = self._accompany()
        with company.lock:
            if self._state not in _ENDED:
                company.callbacks = [*company.callbacks, fn]
                return
        self._call(fn)

    def __await__(self) -> Generator[Any, None, T]:
        from polyexec._awaiting import awaitable

        return awaitable(self).__await__()

    def set_running_or_notify_cancel(self) -> bool:
        """Mark the task as running; return False, and do nothing, if it was cancelled."""
        with self._lock:
            if self._state == PENDING:
                self._state = RUNNING
                return True
            if self._state == CANCELLED:
                self._state = CANCELLED_AND_NOTIFIED
                self._tell("add_cancelled", waiters=True)
                return False
            if self._state in _ENDED and self.submitted_at is not None:
                return False  # an executor's task that ended before it began
            _logger.critical("Future %s in unexpected state: %s", id(self), self._state)
            raise RuntimeError("Future in unexpected state")

    def set_result(self, result: T) -> None:
        """Set what the task returned; for executors and tests."""
        if not self._end(result, None):
            raise InvalidStateError(f"{self._state}: {self!r}")

    def set_exception(self, exception: BaseException | None) -> None:
        """Set what the task raised; for executors and tests."""
        if not self._end(None, exception):
            raise InvalidStateError(f"{self._state}: {self!r}")

    def _end(
        self,
        result: Any,
        exception: BaseException | None,
        load: Callable[[], Any] | None = None,
    ) -> bool:
        """Set the outcome and tell everyone; return False if there was one before."""
        with self._lock:
            if self._state in _ENDED:
                return False
            if exception is None:
                self._result = result
            else:
                self._exception = exception
            if load is not None:
                self._load = load
            if self._task is not None:
                self.finished_at = time.time()
            self._state = FINISHED
            settles = self._leave("add_result" if exception is None else "add_exception")
        self._conclude(settles)
        return True

    def _end_late(self) -> None:
        """Tell everyone of a result that was set while this had no lock, as it had got one."""
        with self._lock:
            settles = self._leave("add_result")
        self._conclude(settles)

    def _leave(self, moment: str) -> bool:
        """Tell the ledger, and everyone; return whether callbacks are left, or others to tell.

        Called with the lock held, once the state is final.
        """
        task = self._task
        settles = task is None or bool(self._done_callbacks)
        if task is not None:
            # Before anybody wakes: a waiter that submits at once must find this worker free.
            ledger = task.executor._ledger
            ledger.leave(task, settling=settles)
            settles = settles or ledger.wants_ends
        company = self._accompany()
        if company.waiters or company.condition is not None:
            self._tell(moment, waiters=True)
        return settles

    def _conclude(self, settles: bool) -> None:  # noqa: FBT001 - it is what `_leave` returned
        task = self._task
        if task is None or settles:
            self._settle()
        else:
            task.forget()
            self._task = None

    def _tell(self, moment: str, *, waiters: bool) -> None:
        """Tell waiters, and those who block; called with the lock held."""
        company = self._accompany()
        if waiters:
            for waiter in company.waiters:
                getattr(waiter, moment)(self)
        else:
            self._ring()
        if company.condition is not None:
            company.condition.notify_all()

    def _ring(self) -> None:
        """Wake those who wait for the outcome, to look again; called with the lock held."""
        for waiter in self._waiters:
            if type(waiter) is Alarm:
                waiter.add_result(self)

    def _watch(self, waiter: Waiter) -> None:
        """Have *waiter* told when this future ends, at once if it has."""
        company = self._accompany()
        with company.lock:
            if self._state not in _ENDED:
                company.waiters = [*company.waiters, waiter]
                return
        waiter.add_cancelled(self) if self._state in _CANCELLED else waiter.add_result(self)

    def _unwatch(self, waiter: Waiter) -> None:
        company = self._accompany()
        with company.lock:
            # Without a loop here: where Ctrl-C strikes as one goes on, the lock may not be let go.
            if waiter in company.waiters:
                waiters = list(company.waiters)
                waiters.remove(waiter)
                company.waiters = waiters

    def _abandon(self, error: BaseException) -> None:
        """End with *error* in a forked child, without telling those who belong to the parent."""
        self._company, self._task = _Company(), None
        self._exception, self._state, self._load = error, FINISHED, None

    def _settle(self) -> None:
        """Run the callbacks and release the task, once the state is final."""
        task = self._task
        if task is None:
            self._invoke_callbacks()
            return
        task.forget()
        if not self._done_callbacks:
            self._task = None
            task.executor._task_ended(task)
        elif task.executor.needs_callback_thread:
            from polyexec._callbacks import run_callbacks

            run_callbacks(self._release)
        else:
            self._release()

    def _release(self) -> None:
        task, outer = self._task, here.executor
        assert task is not None
        here.executor = task.executor
        try:
            self._invoke_callbacks()
        finally:
            here.executor = outer
            self._task = None
            task.executor._task_ended(task)

    def _invoke_callbacks(self) -> None:
        company = self._accompany()
        callbacks, company.callbacks = company.callbacks, ()
        if not callbacks:
            return
        interrupt: KeyboardInterrupt | None = None
        with Uninterrupted():
            for callback in callbacks:
                try:
                    self._call(callback)
                except KeyboardInterrupt as error:
                    interrupt = error  # of that one: the others are called all the same
            try:
                if interrupt is not None:
                    raise interrupt
            finally:
                del interrupt  # which refers to this frame

    def _call(self, callback: Callable[[Future[T]], object]) -> None:
        try:
            if type(callback) is Settling:
                callback(self)
            else:
                with Interruptible(at_once=False):
                    callback(self)
        except Exception:  # the user's code, and nobody is there to catch its error
            _logger.exception("exception calling callback for %r", self)
        except BaseException as error:
            # Ctrl-C is for the main thread. Anything else must not keep others from being told.
            main = threading.current_thread() is threading.main_thread()
            if main and isinstance(error, KeyboardInterrupt):
                raise
            _logger.critical("exception calling callback for %r", self, exc_info=True)
