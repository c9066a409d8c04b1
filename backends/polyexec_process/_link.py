"""The parent's end of one worker: two pipes, the page that both see, and the window of its jobs."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import signal
import tempfile
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from polyexec.waiting import wait_in_slices
from polyexec_process._frames import (
    ANSWER,
    BEGUN,
    BEGUN_AT,
    FLOOR,
    LIMIT,
    NOTHING_BEGUN,
    PAGE_SIZE,
)

if TYPE_CHECKING:
    import threading

    from polyexec.scheduling import Window

_PIPE_SIZE = 1 << 20
_READ = 1 << 18
_MOST_AT_ONCE = 1 << 24
_F_SETPIPE_SZ = 1031
_DUMP_SIZE = 1 << 16


class Answer(NamedTuple):
    """One answer of a worker: its status, the seconds that it took, and what it carries."""

    status: int
    elapsed: float
    data: bytes


class WorkerProcess:
    """A worker, to those who know `multiprocessing.Process`."""

    daemon = False

    def __init__(self, link: Link) -> None:
        self._link = link
        self.name: str = link.name

    def __repr__(self) -> str:
        return f"<WorkerProcess name={self.name!r} pid={self._link.pid}>"

    @property
    def pid(self) -> int | None:
        """Its process's number; waits until there is one."""
        link = self._link
        with link.changed:
            wait_in_slices(partial(link.changed.wait_for, lambda: link.pid or link.dead))
        return link.pid

    ident = pid

    @property
    def exitcode(self) -> int | None:
        """Its exit code, negative for a signal, None while it runs."""
        return self._link.exitcode

    def is_alive(self) -> bool:
        """Return whether it has not ended."""
        return not self._link.dead

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, *timeout* seconds at most."""
        link = self._link
        with link.changed:
            wait_in_slices(partial(link.changed.wait_for, lambda: link.dead), timeout)

    def terminate(self) -> None:
        """End it by SIGTERM."""
        if self.pid is not None and self.is_alive():
            self._link.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self.pid is not None and self.is_alive():
            self._link.signal(signal.SIGKILL)


class Link:
    """Descriptors and state of one worker; the pool's lock guards all but `read`."""

    def __init__(self, number: int, name: str, window: Window, ended: threading.Condition) -> None:
        self.number: int = number
        self.name: str = name
        self.changed: threading.Condition = ended
        self.pid: int | None = None
        self.exitcode: int | None = None
        self.ready: bool = False
        self.dead: bool = False
        self.window: Window = window
        self.process: WorkerProcess = WorkerProcess(self)
        self.known: set[int] = set()
        self.known_bytes: int = 0
        self.leaving: bool = False
        self.idle: bool = False
        self.done: int = 0
        self.since: float = 0.0
        #: Since when it is held back, until it is certain what it had begun by then.
        self.held: float | None = None
        self.out: deque[memoryview] = deque()
        self._parts: list[bytes] = []
        self._got = 0
        self._need = ANSWER.size
        page = _memory("polyexec-page")
        os.ftruncate(page, PAGE_SIZE)
        self._page = mmap.mmap(page, PAGE_SIZE)
        self.words: memoryview = memoryview(self._page).cast("Q")
        self.words[BEGUN] = NOTHING_BEGUN
        self.words[LIMIT] = self.words[FLOOR] = 0
        self._dump = _memory("polyexec-dump")
        jobs, self.jobs = os.pipe()
        self.answers, answers = os.pipe()
        for fd in (self.jobs, self.answers):
            # Beyond what all pipes of a user may hold, this is refused; a small pipe will do.
            with contextlib.suppress(OSError):
                fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_SIZE)
            # A worker that is itself blocked on writing answers would deadlock us.
            os.set_blocking(fd, False)
        #: The worker's descriptors, until it is born.
        self.fds: tuple[int, ...] = (jobs, answers, page, self._dump)

    # -- to the worker ---------------------------------------------------------------------------

    def write(self, data: bytes) -> bool:
        """Send *data* as far as there is room, and keep the rest; return whether all has gone."""
        if self.out:
            self.out.append(memoryview(data))
            return False
        try:
            written = os.write(self.jobs, data)
        except BlockingIOError:
            written = 0
        except BrokenPipeError:
            return True  # it has died, which we shall hear of
        if written == len(data):
            return True
        self.out.append(memoryview(data)[written:])
        return False

    def write_more(self) -> bool:
        """Send what was kept; return whether all has gone."""
        while self.out:
            view = self.out[0]
            try:
                written = os.write(self.jobs, view)
            except BlockingIOError:
                return False
            except BrokenPipeError:
                self.out.clear()
                return True
            if written < len(view):
                self.out[0] = view[written:]
                return False
            self.out.popleft()
        return True

    def hold_back(self, begun: int) -> None:
        """Have the worker pass over all that it was sent, after number *begun*."""
        self.words[FLOOR] = self.window.sent
        self.words[LIMIT] = begun + 1

    def finish(self) -> None:
        """Let the worker end once it has done what it was sent, and what is kept for it."""
        self.leaving = True
        self.idle = False
        if not self.out and self.jobs >= 0:
            os.close(self.jobs)
            self.jobs = -1

    def signal(self, signum: signal.Signals) -> None:
        """Send the worker, and what its tasks started, *signum*."""
        if self.pid is None:
            return
        try:
            os.killpg(self.pid, signum)
        except ProcessLookupError:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                os.kill(self.pid, signum)

    # -- from the worker -------------------------------------------------------------------------

    def read(self) -> tuple[list[Answer], bool]:
        """Return the answers that have come, and whether more may come."""
        answers: list[Answer] = []
        for _ in range(8):  # so that one worker does not keep us from the others
            try:
                data = os.read(self.answers, max(_READ, min(self._need - self._got, _MOST_AT_ONCE)))
            except BlockingIOError:
                return answers, True
            if not data:
                return answers, False
            self._parts.append(data)
            self._got += len(data)
            if self._got >= self._need:
                self._parse(answers)
            if len(data) < _READ:
                break
        return answers, True

    def _parse(self, answers: list[Answer]) -> None:
        data = b"".join(self._parts) if len(self._parts) > 1 else self._parts[0]
        unpack, size, at, end = ANSWER.unpack_from, ANSWER.size, 0, len(data)
        need = size
        while end - at >= size:
            length, status, micros = unpack(data, at)
            if end - at - size < length:
                need = size + length
                break
            at += size
            answers.append(Answer(status, micros * 1e-6, data[at : at + length] if length else b""))
            at += length
        rest = data[at:] if at else data
        self._parts, self._got, self._need = ([rest] if rest else []), len(rest), need

    # -- what is known of it ---------------------------------------------------------------------

    @property
    def begun(self) -> int | None:
        """The number of the job that it began last."""
        begun: int = self.words[BEGUN]
        return None if begun == NOTHING_BEGUN else begun

    @property
    def begun_at(self) -> float:
        """When it began that, in seconds of the monotonic clock."""
        at: int = self.words[BEGUN_AT]
        return at * 1e-9

    def last_words(self) -> str | None:
        """Return what faulthandler wrote as the worker died, None if nothing."""
        dump = os.pread(self._dump, _DUMP_SIZE, 0)
        return dump.decode(errors="replace") or None

    def release_fds(self) -> None:
        """Close the worker's own descriptors, which it has got by now."""
        for fd in self.fds:
            if fd != self._dump:
                os.close(fd)
        self.fds = ()

    def close(self) -> None:
        """Close everything."""
        self.release_fds()
        for fd in (self.jobs, self.answers, self._dump):
            if fd >= 0:
                os.close(fd)
        self.jobs = self.answers = self._dump = -1
        self.out.clear()


def _memory(name: str) -> int:
    """Return a descriptor of new memory, which the kernel frees with its last holder."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    fd, path = tempfile.mkstemp(prefix=name)
    os.unlink(path)
    return fd
