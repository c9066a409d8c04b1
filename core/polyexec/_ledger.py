"""Keeps count of an executor's tasks, and of whether it takes more.

Neither accepting nor ending a task takes a lock. It is enough that both change a set and then read
`refusing`, while `shut` sets `refusing` and then reads the sets: a set's operations exclude each
other, by the GIL or by the set's own lock, so either the submitter or the worker sees the flag, or
who shuts down sees what it did to the set.

    submit:    unfinished.add       read refusing     ->  refuse, or accept
    shutdown:  refusing = True      read unfinished   ->  wait, or stop
    a task's   unfinished.discard   read refusing     ->  wake those who wait, or stop for them
    end:
"""

from __future__ import annotations

import copy
import weakref
from typing import TYPE_CHECKING, Any

from polyexec import _exit
from polyexec._current import here
from polyexec._room import Room
from polyexec.errors import BrokenExecutor, ExecutorShutdownError
from polyexec.waiting import Condition

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyexec._feeder import Feeder
    from polyexec._observers import Observers
    from polyexec.executor import Executor
    from polyexec.task import Task


class Ledger:
    """What core knows of one executor, apart from it so that no backend's name can clash.

    *unfinished* holds the accepted tasks whose futures have not ended, *settling* those whose
    callbacks are still to run. It refers to the executor but weakly: that must be collected as
    soon as it is dropped.
    """

    def __init__(self, executor: Executor, max_pending: int | None) -> None:
        self._executor = weakref.ref(executor)
        # Re-entrant: the collector may drop an unread map, which submits, while it is held.
        self.lock: Condition = Condition()
        self.unfinished: set[Task] = set()
        self.settling: set[Task] = set()
        #: Tasks that `submit` neither accepted nor forgot, for the stack was full.
        self.left_over: list[Task] = []
        self.room = Room(max_pending) if max_pending else None
        self.observers: Observers | None = None
        self.wrap: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
        self.failure: BrokenExecutor | None = None
        self.beginning: bool = False
        self.begun: bool = False
        self.refusing: bool = False
        self.shut: bool = False
        self.stopped: bool = False
        self.drops_at_exit: bool = False
        self.abandoned: bool = False
        # Maps that go on after shutdown, for another thread was pulling their inputs just then.
        self._feeding: set[Feeder] = set()
        self._maps: weakref.WeakSet[Feeder] = weakref.WeakSet()
        self._waiting = 0

    def reject_late(self) -> None:
        """Raise if a task that is submitted now comes too late; it is among the unfinished."""
        if self.refuses():
            raise self.refusal()

    def refuses(self) -> bool:
        """Return whether a task that is submitted now comes too late."""
        if not self.refusing and not _exit.exiting:
            return False
        return here.feeding not in self._feeding or self.failure is not None

    def turn_away(self, task: Task, *, placed: bool) -> None:
        """Forget *task*, which was not admitted; *placed* if it had a place in the room."""
        self.unfinished.discard(task)
        if self.room is not None and placed:
            self.room.release()
        self._see_to_the_end()

    def end_left_over(self) -> None:
        """End those that `submit` could not even turn away."""
        while self.left_over:
            task = self.left_over.pop()
            task.future._end(None, RecursionError("the stack was full as this was submitted"))

    def leave(self, task: Task, *, settling: bool) -> None:
        """Forget *task*, whose future has its final state, but for its callbacks if *settling*."""
        if settling or self.observers is not None:
            self.settling.add(task)
        self.unfinished.discard(task)

    @property
    def wants_ends(self) -> bool:
        """Whether anything is to be done about a task that ended and has no callbacks."""
        return self.refusing or self.room is not None or self.observers is not None

    def ended(self, task: Task) -> None:
        """Forget *task* for good."""
        if self.settling:
            self.settling.discard(task)
        if self.room is not None:
            self.room.release()
        if self.refusing:
            self._see_to_the_end()

    def feed(self, feeder: Feeder) -> None:
        """Accept a map's inputs after shutdown, too, and count it among what is unfinished."""
        with self.lock:
            self._feeding.add(feeder)

    def fed(self, feeder: Feeder) -> None:
        """Take note that nothing more comes from a map that was fed, or will be."""
        if feeder in self._feeding:
            with self.lock:
                self._feeding.discard(feeder)
            self._see_to_the_end()

    def _see_to_the_end(self) -> None:
        """Wake those who wait for the end, or end the workers if nobody does."""
        if not self.refusing:
            return
        with self.lock:
            drained = self.shut and self._is_drained()
            if drained:
                self.lock.notify_all()
            unattended = drained and not self._waiting
        executor = self._executor() if unattended else None
        if executor is not None:
            executor._end_workers(wait=False)

    def _is_drained(self) -> bool:
        return not (self.unfinished or self.settling or self._feeding)

    def refusal(self) -> Exception:
        """Return the error for who submits too late."""
        if self.failure is not None:
            return self.copy_of_failure()
        if _exit.exiting:
            return RuntimeError("cannot schedule new futures after interpreter shutdown")
        return ExecutorShutdownError(
            "cannot schedule new futures after shutdown; make a new executor for them"
        )

    def fail(self, failure: BrokenExecutor) -> tuple[Task, ...]:
        """Refuse new tasks because of *failure*; return those that it leaves unfinished."""
        with self.lock:
            self.failure, self.refusing = failure, True
            return tuple(self.unfinished)

    def copy_of_failure(self) -> BrokenExecutor:
        """Return the failure for one task: a shared one would gather everybody's tracebacks."""
        assert self.failure is not None
        failure = copy.copy(self.failure)
        failure.__cause__ = self.failure.__cause__
        return failure

    def shut_down(self) -> tuple[Task, ...]:
        """Refuse new tasks; return the unfinished ones."""
        with self.lock:
            self.shut = self.refusing = True
            return tuple(self.unfinished)

    def drained(self, *, wait: bool) -> bool:
        """Return whether no task is left, which with *wait* is only a matter of time."""
        with self.lock:
            self._waiting += wait
            try:
                if wait:
                    self.lock.wait_for(self._is_drained)
            finally:
                self._waiting -= wait
            return self._is_drained()

    def add_map(self, feeder: Feeder) -> None:
        """Keep a map in mind, but not alive."""
        with self.lock:
            self._maps.add(feeder)

    def settle_maps(self, *, cancel: bool, last: bool = False) -> None:
        """Submit what live maps have not pulled yet, or cancel it; *last* as for their `drain`."""
        with self.lock:
            maps = list(self._maps)
        for feeder in maps:
            feeder.cancel() if cancel else feeder.drain(last=last)

    def abandon(self) -> None:
        """Make the copy of a parent's executor unusable in a forked child, and its waits end."""
        self.lock = Condition()  # another thread of the parent may hold the old one
        self.failure = BrokenExecutor(
            "this executor was made before os.fork() and its workers belong to the parent; "
            "make a new one in the child"
        )
        self.refusing = self.shut = self.abandoned = True
        self.room = None
        self._maps = weakref.WeakSet()
        self._feeding = set()
        for task in tuple(self.unfinished):
            task.future._abandon(self.copy_of_failure())
        self.unfinished.clear()
        self.settling.clear()
