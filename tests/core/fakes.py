"""Small backends, each odd in one way, and what tests wait and look with."""

from __future__ import annotations

import contextlib
import gc
import itertools
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

import polyexec
from polyexec import _exit
from polyexec.waiting import Condition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polyexec import Task

T = TypeVar("T")

#: Seconds after which something that should have ended counts as hanging.
PATIENCE = 10.0


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Have no garbage collected meanwhile."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class FakeContext(polyexec.Context):
    """A context whose executors are of one class, and which can do what it is told."""

    name = "fake"

    def __init__(
        self, kind: type[polyexec.Executor], capabilities: frozenset[str] = frozenset()
    ) -> None:
        self.kind = kind
        self.capabilities = capabilities

    def Executor(self, max_workers: int | None = None, **options: Any) -> polyexec.Executor:
        """Return an executor of that class."""
        return self.kind(self, max_workers, **options)


class InlineExecutor(polyexec.Executor):
    """Runs each task within `submit`."""

    def accept(self, task: Task) -> None:
        """Run *task*."""
        task.run("inline")

    def stop(self, wait: bool) -> None:  # noqa: FBT001 - the interface's signature
        """Do nothing."""


class QueueingExecutor(polyexec.Executor):
    """Queues tasks until the test runs them; notes how it was stopped."""

    needs_callback_thread = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tasks: deque[Task] = deque()
        self.stops: list[bool] = []

    def accept(self, task: Task) -> None:
        """Queue *task*."""
        self.tasks.append(task)

    def stop(self, wait: bool) -> None:  # noqa: FBT001 - the interface's signature
        """Note it."""
        self.stops.append(wait)

    def run_all(self) -> None:
        """Run what is queued."""
        while self.tasks:
            self.tasks.popleft().run("queue")


class RefusingExecutor(polyexec.Executor):
    """Accepts nothing."""

    error: BaseException = OSError("no room")

    def accept(self, task: Task) -> None:  # noqa: ARG002 - refused whatever it is
        """Refuse."""
        raise self.error

    def stop(self, wait: bool) -> None:  # noqa: FBT001 - the interface's signature
        """Do nothing."""


class IoExecutor(polyexec.Executor):
    """Completes all futures on one I/O thread, which must never be held up."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._inbox: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=_complete, args=(self._inbox,), daemon=True)
        self.thread.start()

    def accept(self, task: Task) -> None:
        """Hand *task* to the I/O thread."""
        self._inbox.put(task)

    def stop(self, wait: bool) -> None:  # noqa: FBT001 - the interface's signature
        """End the thread."""
        self._inbox.put(None)
        if wait:
            self.thread.join()


def _complete(inbox: queue.SimpleQueue[Task | None]) -> None:
    while (task := inbox.get()) is not None:
        task.run("io")


class SpreadingExecutor(polyexec.Executor):
    """Runs each task on a thread of its own, and keeps no thread."""

    needs_callback_thread = False

    def accept(self, task: Task) -> None:
        """Start a thread for *task*."""
        threading.Thread(target=task.run, args=("spread",), daemon=True).start()

    def stop(self, wait: bool) -> None:  # noqa: FBT001 - the interface's signature
        """Do nothing."""


def fake(kind: type[polyexec.Executor], max_workers: int = 1, **options: Any) -> Any:
    """Return an executor of *kind*, typed loosely, for tests look at what is private."""
    return FakeContext(kind).Executor(max_workers, **options)


class LateCondition(Condition):
    """One whose first wait runs into its timeout just as the awaited happens, and says so.

    `Condition.wait` may swallow a notification like that; who waits must look again.
    """

    def __init__(self, happen: Callable[[], object]) -> None:
        super().__init__()
        self._happen: Callable[[], object] | None = happen

    def wait(self, timeout: float | None = None) -> bool:
        """Let it happen, and return False; wait for nothing more than once."""
        happen, self._happen = self._happen, None
        if happen is None:
            raise AssertionError(f"waits {timeout} s for what has happened")
        happen()
        return False


def await_that(happened: Callable[[], bool]) -> None:
    """Return once something has *happened* of which no event tells."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def ends(call: Callable[..., T], *args: Any, seconds: float = PATIENCE, **kwargs: Any) -> T:
    """Return what *call* returns, or raise what it raises; fail if it hangs."""
    outcome: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((True, call(*args, **kwargs)))
        except BaseException as error:  # noqa: BLE001 - handed to the test
            outcome.put((False, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        good, value = outcome.get(timeout=seconds)
    except queue.Empty:
        for executor in list(_exit._live):
            executor._ledger.drops_at_exit = True  # or the test run itself would hang at its end
        raise AssertionError(f"{call!r} hangs") from None
    if not good:
        raise value
    result: T = value
    return result


def python(
    code: str, *options: str, seconds: float = PATIENCE, **kwargs: Any
) -> subprocess.CompletedProcess[str]:
    """Run *code* in an interpreter of its own; fail if it hangs."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", *options, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        **kwargs,
    )


#: How programs begin. Who is started in the background may have been told to ignore Ctrl-C.
THREAD = """
import os, signal, sys, threading, time
import polyexec
signal.signal(signal.SIGINT, signal.default_int_handler)
ctx = polyexec.get_context("thread")
"""


def thread_executor(max_workers: int = 1, **options: Any) -> Any:
    """Return an executor of threads."""
    return polyexec.get_context("thread").Executor(max_workers, **options)


def hold(running: threading.Event, gate: threading.Event) -> None:
    """Set *running*, and wait for *gate*."""
    running.set()
    gate.wait(PATIENCE)


def interrupt(code: str, seconds: float = 5.0) -> tuple[float, int, str]:
    """Run *code* until it prints, send it SIGINT; return the seconds to its end, code, stderr."""
    process = subprocess.Popen(
        [sys.executable, "-c", THREAD + textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=seconds)
    finally:
        process.kill()
        process.communicate()
    return time.monotonic() - begin, process.returncode, errors


def run(ctx: Any, target: Any, *args: Any, **options: Any) -> Any:
    """Start a Process, and return it once it has ended."""
    process = ctx.Process(target=target, args=args, **options)
    process.start()
    process.join(PATIENCE)
    return process


class Counted:
    """Counts what is pulled from it."""

    def __init__(self, items: Any = None) -> None:
        self.pulled = 0
        self._items = itertools.count() if items is None else iter(items)

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        item: int = next(self._items)
        self.pulled += 1
        return item


def failing_input(items: int) -> Iterator[int]:
    """Yield so many *items*, then raise ValueError."""
    yield from range(items)
    raise ValueError("the input is broken")


def fail_at(place: int, error: BaseException) -> Callable[[int], int]:
    """Return a task that returns its item, but raises *error* for the one that is *place*."""

    def task(item: int) -> int:
        if item == place:
            raise error
        return item

    return task
