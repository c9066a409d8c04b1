"""The worker: reads jobs from a pipe, runs them one after another, and writes each one's outcome.

An outcome is in the pipe, or on the stage, before the next job begins. What the task's code does to
this process, to its streams, its signals and its threads, is its own affair: if it can't go on, it
dies, and whoever has the other ends knows what it had begun. What it takes to tell of an error is
loaded before: a task may leave no descriptor to load anything.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import faulthandler
import gc
import mmap
import os
import pickle
import select
import signal
import socket
import sys
import time
from functools import cached_property

from polyexec._current import here
from polyexec.serialization.destinations import Destination, bound_for
from polyexec.serialization.exceptions import dumps_exception
from polyexec.serialization.payloads import LARGE, dumps_parts
from polyexec.serialization.views import KeptFunctions
from polyexec_process._carry import open_channel
from polyexec_process._frames import (
    ANSWER,
    BEGUN,
    BEGUN_AT,
    CLEAR,
    END,
    ENTRY,
    ERROR,
    FLOOR,
    FUNCTION,
    FUNCTION_MASK,
    GIVE_UP,
    JOBS,
    LIMIT,
    MESSAGE,
    NONE,
    NUMBER,
    NUMBERS,
    PAGE_SIZE,
    PARCEL_RESULT,
    PASSED_OVER,
    PLAIN_VALUE,
    PREPARE,
    PROMPT,
    READY,
    RETURN,
    SHARE,
    SPECIAL,
    STAGE_SIZE,
    STAGED_FROM,
    STAGED_TO,
    UNPREPARED,
    UNREADABLE,
    UNSHARE,
    VALUE,
)
from polyexec_process._holdings import Holdings
from polyexec_process._lookout import Lookout
from polyexec_process._readbuffer import ReadBuffer

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MADV_WIPEONFORK = 18
#: For how many nanoseconds answers gather. Whoever looks at the stage must see what is there once
#: `STAGED_TO` says so, which not every processor promises.
_PROMPT = PROMPT if os.uname().machine == "x86_64" else 0
_MOST_MICROSECONDS = (1 << 32) - 1
_NO_ARGUMENTS = memoryview(b"")
#: Types whose objects no pickler has questions about.
_PLAIN = frozenset({bool, float, int})


class _Gone(Exception):  # noqa: N818 - not an error: whoever gave the jobs is gone, or has no more
    """Raised when there are no more jobs."""


class Ends:
    """A worker's ends of what connects it: two pipes, page and stage, a file, and two sockets."""

    def __init__(self, fds: list[int]) -> None:
        self.jobs, self.answers, page, self.dump, rights, self.records = fds
        memory = memoryview(mmap.mmap(page, PAGE_SIZE + STAGE_SIZE))
        os.close(page)
        self.page = memory[:PAGE_SIZE].cast("Q")
        self.stage = memory[PAGE_SIZE:]
        self.rights = socket.socket(fileno=rights)


class Worker:
    """Serves one pair of pipes until the first has no more to read."""

    def __init__(self, ends: Ends, initializer: Callable[[], object] | None) -> None:
        self._jobs = ends.jobs
        self._answers = ends.answers
        self._page = ends.page
        self._stage = ends.stage
        #: Which pipe it is, and how many bytes were written to it.
        self._pipe = _identity(ends.answers)
        self._written = 0
        self._initializer = initializer
        self._buffer = b""
        self._reading = ReadBuffer()
        poller = select.poll()
        poller.register(ends.jobs, select.POLLIN)
        self._lookout = Lookout(poller.poll)
        self._functions = KeptFunctions()
        self._rights = ends.rights
        self._running = False
        self._pid = os.getpid()
        #: What is true at 0, but in a child that a task forked.
        self._is_worker: Any = _own_memory()

    def serve(self) -> None:
        """Run jobs until there are no more."""
        signal.signal(signal.SIGINT, self._interrupt)
        try:
            self._buffer = self._fill(b"", MESSAGE.size)
            while True:
                kind, count, body = self._read()
                if kind == JOBS:
                    self._run(count, body)
                elif kind == PREPARE:
                    if not self._prepare(body):
                        return
                elif kind == END:
                    return
                else:
                    self._learn(kind, body)
                del body
        except _Gone:
            return

    def _interrupt(self, *_: object) -> None:
        """Pass Ctrl-C on to the task; between tasks it is nobody's."""
        if self._running:
            raise KeyboardInterrupt

    @cached_property
    def _holdings(self) -> Holdings:
        return Holdings(self._rights)

    # -- messages --------------------------------------------------------------------------------

    def _read(self) -> tuple[int, int, memoryview]:
        buffer = self._buffer
        if len(buffer) < MESSAGE.size:
            _flush()
            if not buffer:
                self._lookout.wait()
            buffer = self._fill(buffer, MESSAGE.size)
        length, kind, count = MESSAGE.unpack_from(buffer)
        if len(buffer) < length:
            buffer = self._fill(buffer, length)
        self._buffer = buffer[length:]
        return kind, count, memoryview(buffer)[MESSAGE.size : length]

    def _fill(self, buffer: bytes, length: int) -> bytes:
        parts, got = [buffer], len(buffer)
        while got < length:
            part = self._reading.read(self._jobs, length - got)
            if not part:
                raise _Gone
            parts.append(part)
            got += len(part)
        return b"".join(parts)

    def _write(self, data: bytes) -> None:
        # A task may have closed all, and others' files may have the numbers.
        if _identity(self._answers) != self._pipe:
            raise OSError(errno.EBADF, "a task closed the pipe that its worker answers through")
        self._written += len(data)
        try:
            written = os.write(self._answers, data)
            if written < len(data):
                view = memoryview(data)
                while written < len(data):
                    written += os.write(self._answers, view[written:])
        except BrokenPipeError:
            raise _Gone from None

    # -- what they ask for -------------------------------------------------------------------------

    def _prepare(self, body: memoryview) -> bool:
        birth = pickle.loads(body)
        self._parent = Destination(is_local=birth.is_local, is_origin=True)
        told = birth.settle()
        try:
            if told is not None:
                here.reading = True
                fn, args = pickle.loads(told)
                here.reading = False
                if fn is not None:
                    fn(*args)
            elif self._initializer is not None:
                self._initializer()
        except BaseException as error:  # the user's code
            import logging

            logging.getLogger("concurrent.futures").critical(
                "Exception in initializer:", exc_info=True
            )
            self._failure = self._dumps_exception(error)
            return False
        self._write(ANSWER.pack(NUMBER.size, READY, 0) + NUMBER.pack(self._pid))
        return True

    def _learn(self, kind: int, body: memoryview) -> None:
        if kind == FUNCTION:
            (number,) = NUMBER.unpack_from(body)
            self._functions.learn(number, body[NUMBER.size :])
        elif kind == CLEAR:
            self._functions.clear()
        elif kind == RETURN:
            self._holdings.take_back(number for (number,) in NUMBERS.iter_unpack(body))
        elif kind == GIVE_UP:
            self._holdings.give_up(number for (number,) in NUMBERS.iter_unpack(body))
        elif kind == SHARE:
            (number,) = NUMBERS.unpack_from(body)
            self._holdings.hold(number, body[NUMBERS.size :])
        elif kind == UNSHARE:
            self._holdings.forget(number for (number,) in NUMBERS.iter_unpack(body))

    def _run(self, count: int, body: memoryview) -> None:
        page, clock, attempt = self._page, time.monotonic_ns, self._attempt
        stage, place, size = self._stage, ANSWER.pack_into, ANSWER.size
        start = ENTRY.size * count
        number = self._begun
        last = number + count - 1
        staged, before = 0, self._written
        page[STAGED_FROM] = before
        began = clock()
        due = began + _PROMPT
        for length, which in ENTRY.iter_unpack(body[:start]):
            call = body[start : start + length] if length else _NO_ARGUMENTS
            page[BEGUN_AT] = began
            page[BEGUN] = number
            if number < page[FLOOR] and page[LIMIT] <= number:
                if which >= SPECIAL:
                    self._holdings.skip(which, call)
                status, data = PASSED_OVER, b""
            else:
                status, data = attempt(which, call)
                if which >= SPECIAL:
                    status |= self._holdings.settle()
            ended = clock()
            spent = (ended - began) // 1000
            if spent > _MOST_MICROSECONDS:  # noqa: PLR1730 - half the time of `min`
                spent = _MOST_MICROSECONDS
            to = staged + size + len(data)
            if number < last and ended < due and to <= STAGE_SIZE:
                place(stage, staged, len(data), status, spent)
                if data:
                    stage[staged + size : to] = data
                page[STAGED_TO] = before + to
                staged, began = to, ended
            else:
                self._write(bytes(stage[:staged]) + ANSWER.pack(len(data), status, spent) + data)
                staged, before = 0, self._written
                page[STAGED_FROM] = before
                began = clock()
                due = began + _PROMPT
            start += length
            number += 1
        self._begun = number

    def _attempt(self, which: int, data: memoryview) -> tuple[int, bytes]:
        """Run one call, and return its status and what goes with that."""
        status = UNREADABLE
        try:
            self._running = True
            if data is _NO_ARGUMENTS:
                status = ERROR
                result = self._functions[which]()
            else:
                here.reading = True
                call = pickle.loads(data) if which < SPECIAL else self._holdings.unpack(which, data)
                here.reading = False
                status = ERROR
                which &= FUNCTION_MASK
                if which:
                    result = self._functions[which](*call[0], **call[1])
                else:
                    result = call[0](*call[1], **call[2])
            if not self._is_worker[0]:
                os._exit(1)  # a child that the task forked, and that left the task
            return (NONE, b"") if result is None else self._outcome(result)
        except BaseException as error:  # noqa: BLE001 - the border to the user's task
            self._running = here.reading = False
            if not self._is_worker[0]:
                os._exit(1)
            return status, self._dumps_exception(error)
        finally:
            self._running = False
            result = None  # a map's may hold errors, whose tracebacks lead to this frame

    def _outcome(self, result: Any) -> tuple[int, bytes]:
        if type(result) in _PLAIN:
            return PLAIN_VALUE, pickle.dumps(result, 5)
        data, buffers = bound_for(self._parent, dumps_parts, result)
        if buffers or len(data) >= LARGE:
            return VALUE | PARCEL_RESULT, self._holdings.pack(data, buffers)
        return VALUE, data

    def _dumps_exception(self, error: BaseException) -> bytes:
        return bound_for(self._parent, dumps_exception, error)

    def tell_failure(self) -> None:
        """Say, as the last thing, that the initializer failed: all is over for us then."""
        if self._failure is not None:
            with contextlib.suppress(_Gone):
                self._write(ANSWER.pack(len(self._failure), UNPREPARED, 0) + self._failure)

    #: Where results go.
    _parent: Destination
    #: The number of the next job.
    _begun = 0
    _failure: bytes | None = None


def _identity(fd: int) -> tuple[int, int]:
    """Return what tells an open file from all others."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


class _SamePid:
    """Tells at any index whether this is the process that it was made in."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def __getitem__(self, _: int) -> bool:
        return os.getpid() == self._pid


def _own_memory() -> Any:
    """Return what is true at 0 in this process, and in none that is forked from it, however.

    To look there takes less time than to ask for the pid, which is a call of the system.
    """
    if sys.platform != "linux":
        return _SamePid()
    memory = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        memory.madvise(_MADV_WIPEONFORK)
    except OSError:  # an old kernel, or what passes for one
        return _SamePid()
    memory[0] = 1
    return memory


def _flush() -> None:
    """Let others see what tasks have printed, before this process sleeps."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):  # no stream, a closed one, or nobody reads
            continue


def run_worker(fds: list[int], initializer: Callable[[], object] | None = None) -> int:
    """Be the worker that has these descriptors, and return the exit code."""
    ends = Ends(fds)
    open_channel(ends.records, ends.page)
    faulthandler.enable(ends.dump)
    atexit._clear()  # what the parent registered is the parent's
    gc.enable()
    worker = Worker(ends, initializer)
    worker.serve()
    code = end_process()
    worker.tell_failure()
    return code


def end_process() -> int:
    """Do what a process does at its end: exit hooks, other threads, streams."""
    import threading

    try:
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util._exit_function()
        threading._shutdown()  # type: ignore[attr-defined]  # as multiprocessing's processes do
        atexit._run_exitfuncs()
    except BaseException:  # noqa: BLE001 - the user's hooks; there is only this place to tell
        import traceback

        traceback.print_exc()
        return 1
    finally:
        _flush()
    return 0
