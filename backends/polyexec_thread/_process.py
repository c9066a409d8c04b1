"""multiprocessing's Process, as a thread.

Start-up copies the process object, as a fork does: the child runs the copy, and what its `run`
sets on itself the parent does not see. The handles that the copy holds are its own, and are closed
when it ends, as a process's are.
"""

from __future__ import annotations

import multiprocessing.process
import os
import sys
import threading
import traceback
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

from polyexec.capabilities import KILL_RUNNING
from polyexec.waiting import Event, interrupted
from polyexec_thread._handles import Handle, passed_on

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess


class _Here(threading.local):
    process: BaseProcess | None = None


_here = _Here()
_living: weakref.WeakSet[ThreadPopen] = weakref.WeakSet()
_living_lock = threading.RLock()


class ThreadPopen:
    """What stands behind a started process: its thread, exit code and sentinel."""

    method = "thread"
    #: What BaseProcess reads at start; a descriptor for each process would soon use them all up.
    sentinel = None

    def __init__(self, process: BaseProcess) -> None:
        self._name = process.name
        self._handles: list[Handle] = []
        self._child = _copy(process, self._handles)
        self._child._popen = self
        self.returncode: int | None = None
        self.parent: BaseProcess | None = _here.process
        self.process = weakref.ref(process)
        self._ended = Event()
        self._lock = threading.RLock()
        self._sentinel: int | None = None
        self._alive: int | None = None
        self._close_sentinel: Callable[[], object] = _nothing
        self._thread = threading.Thread(target=self._run, name=process.name, daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self._close_handles()
            raise
        with _living_lock:
            _living.add(self)

    @property
    def pid(self) -> int | None:
        """The thread's identifier; no process has it, so that a signal sent to it hits nobody."""
        return self._thread.ident

    def poll(self) -> int | None:
        """Return the exit code, None while the process runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code; None if *timeout* seconds pass before the process ends."""
        self._ended.wait(timeout)
        return self.returncode

    def make_sentinel(self) -> int:
        """Return a descriptor that is readable once the process has ended, made on first use."""
        with self._lock:
            if self._sentinel is None:
                self._sentinel, self._alive = os.pipe()
                self._close_sentinel = weakref.finalize(self, os.close, self._sentinel)
                if self._ended.is_set():
                    self._signal_end()
            return self._sentinel

    def _signal_end(self) -> None:
        with self._lock:
            if self._alive is not None:
                # Closing alone would not do while a forked child has a copy.
                os.write(self._alive, b"!")
                os.close(self._alive)
                self._alive = None

    def close(self) -> None:
        """Close the sentinel."""
        self._close_sentinel()

    def terminate(self) -> NoReturn:
        """Raise NotSupportedError: a thread can't be stopped from outside."""
        self._cannot("terminate()")

    def kill(self) -> NoReturn:
        """Raise NotSupportedError: a thread can't be stopped from outside."""
        self._cannot("kill()")

    def interrupt(self) -> NoReturn:
        """Raise NotSupportedError: a thread can't be stopped from outside."""
        self._cannot("interrupt()")

    def _cannot(self, wanted: str) -> NoReturn:
        from polyexec_thread._context import ThreadContext

        raise ThreadContext().lacks(KILL_RUNNING, f"{wanted} of process {self._name!r}")

    def _close_handles(self) -> None:
        for handle in self._handles:
            handle.close()
        self._handles.clear()

    def _run(self) -> None:
        # Whoever joins must find nothing of the target or its arguments left.
        child = self._child
        del self._child
        _here.process = child
        code = 1
        try:
            code = _run(child)
        finally:
            del child
            _here.process = None
            self._close_handles()
            self.returncode = code
            with _living_lock:
                _living.discard(self)
            with self._lock:
                try:
                    self._signal_end()  # first: who has joined finds the sentinel ready
                finally:
                    self._ended.set()


class ThreadProcess(multiprocessing.process.BaseProcess):
    """A process that is a thread: everything of multiprocessing's but terminate and kill."""

    _start_method = "thread"

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> ThreadPopen:
        return ThreadPopen(process_obj)

    @staticmethod
    def _after_fork() -> None:
        """Do nothing: there was no fork."""

    @property
    def sentinel(self) -> int:
        """A descriptor that is readable once the process has ended."""
        popen: ThreadPopen = self._popen  # type: ignore[attr-defined]  # BaseProcess's own
        return super().sentinel or popen.make_sentinel()

    def is_alive(self) -> bool:
        """Return whether the process runs."""
        return self is _here.process or super().is_alive()


def current_process() -> BaseProcess:
    """Return the process that the calling thread runs, the main one if it is none's."""
    return _here.process or multiprocessing.process.current_process()


def parent_process() -> BaseProcess | None:
    """Return the process that started the current one, None in the main one."""
    child = _here.process
    if child is None:
        return multiprocessing.process.parent_process()
    popen: ThreadPopen = child._popen  # type: ignore[attr-defined]  # BaseProcess's own
    return popen.parent or multiprocessing.process.current_process()


def active_children() -> list[BaseProcess]:
    """Return the live processes that the current one started."""
    alive = [popen for popen in _snapshot() if popen.parent is _here.process]
    return [process for popen in alive if (process := popen.process()) is not None]


def _snapshot() -> list[ThreadPopen]:
    with _living_lock:
        return list(_living)


def _nothing() -> None:
    """Close no sentinel, for there is none."""


def _copy(process: BaseProcess, made: list[Handle]) -> Any:
    child = object.__new__(type(process))
    child.__dict__.update(
        {name: passed_on(value, made) for name, value in process.__dict__.items()}
    )
    return child


def _run(child: BaseProcess) -> int:
    """Run *child* and return its exit code, by the rules of multiprocessing."""
    try:
        child.run()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return int(end.code or 0) & 0xFF  # as much as a process can tell
        _report(f"{end.code}\n")
        return 1
    except BaseException:  # noqa: BLE001 - the border to the user's code
        _report(f"Process {child.name}:\n{traceback.format_exc()}")
        return 1
    return 0


def _report(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(text)
        sys.stderr.flush()


def _join_children() -> None:
    """Wait, as multiprocessing does at exit, for those that are no daemons.

    The threads are daemons all the same, for nothing is waited for once Ctrl-C has ended the main
    program.
    """
    while not interrupted():
        alive = [child for child in multiprocessing.process.active_children() if _is_ours(child)]
        waited_for = [child for child in alive if not child.daemon]
        if not waited_for:
            break
        waited_for[0].join()
    # What is left multiprocessing would try to terminate, or wait for.
    children: set[BaseProcess] = multiprocessing.process._children  # type: ignore[attr-defined]  # private; there is no other way
    children.difference_update([child for child in tuple(children) if _is_ours(child)])


def _is_ours(child: BaseProcess) -> bool:
    return isinstance(getattr(child, "_popen", None), ThreadPopen)


# Before the executors refuse new tasks: a child may still use one.
threading._register_atexit(_join_children)  # type: ignore[attr-defined]  # private, there since 3.9
