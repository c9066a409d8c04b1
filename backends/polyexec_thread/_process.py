"""multiprocessing's Process, as a thread.

Start-up copies the process object, as a fork does: the child runs the copy, and what its `run`
sets on itself the parent does not see. The handles that the copy holds are its own, and are closed
when it ends, as a process's are.
"""

from __future__ import annotations

import atexit
import multiprocessing.process
import os
import sys
import threading
import traceback
import weakref
from multiprocessing import util
from typing import TYPE_CHECKING, Any, NoReturn

from polyexec.capabilities import KILL_RUNNING
from polyexec_thread._handles import Handle, passed_on

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess


class _Here(threading.local):
    process: BaseProcess | None = None


_here = _Here()
_living: weakref.WeakSet[ThreadPopen] = weakref.WeakSet()


class ThreadPopen:
    """What stands behind a started process: its thread, exit code and sentinel."""

    method = "thread"

    def __init__(self, process: BaseProcess) -> None:
        self._name = process.name
        self._handles: list[Handle] = []
        self._child = _copy(process, self._handles)
        self._child._popen = self
        self.returncode: int | None = None
        self.parent: BaseProcess | None = _here.process
        self.process = weakref.ref(process)
        self._ended = threading.Event()
        self.sentinel, alive = os.pipe()
        self._close_sentinel = weakref.finalize(self, os.close, self.sentinel)
        self._thread = threading.Thread(
            target=self._run, args=(alive,), name=process.name, daemon=process.daemon
        )
        try:
            self._thread.start()
        except BaseException:
            os.close(alive)
            raise
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

    def close(self) -> None:
        """Close the sentinel."""
        self._close_sentinel()

    def terminate(self) -> NoReturn:
        """Raise NotSupportedError: a thread can't be stopped from outside."""
        self._cannot("terminate()")

    kill = interrupt = terminate

    def _cannot(self, wanted: str) -> NoReturn:
        from polyexec_thread._context import ThreadContext

        raise ThreadContext().lacks(KILL_RUNNING, f"{wanted} of process {self._name!r}")

    def _run(self, alive: int) -> None:
        # Whoever joins must find nothing of the target or its arguments left.
        child = self._child
        del self._child
        _here.process = child
        try:
            code = _run(child)
        finally:
            del child
            _here.process = None
            for handle in self._handles:
                handle.close()
            self._handles.clear()
        self.returncode = code
        _living.discard(self)
        self._ended.set()
        os.close(alive)  # which makes the sentinel readable


class ThreadProcess(multiprocessing.process.BaseProcess):
    """A process that is a thread: everything of multiprocessing's but terminate and kill."""

    _start_method = "thread"

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> ThreadPopen:
        return ThreadPopen(process_obj)

    @staticmethod
    def _after_fork() -> None:
        """Do nothing: there was no fork."""

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
    alive = [popen for popen in tuple(_living) if popen.parent is _here.process]
    return [process for popen in alive if (process := popen.process()) is not None]


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
            return int(end.code or 0)
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


def _forget_daemons() -> None:
    """Keep multiprocessing from terminating daemons at exit: they end with the interpreter."""
    children: set[BaseProcess] = multiprocessing.process._children  # type: ignore[attr-defined]  # private; there is no other way
    for child in tuple(children):
        popen = getattr(child, "_popen", None)
        if child.daemon and isinstance(popen, ThreadPopen):
            children.discard(child)


# Exit functions run last in, first out: after `util` has registered its own.
assert util is not None
atexit.register(_forget_daemons)
