"""The parent's end of one worker: two pipes, the page that both see, and the window of its jobs."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import socket
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyexec.namedtuple import NamedTuple
from polyexec.serialization import dumps_exception
from polyexec_process._answers import AnswerStream
from polyexec_process._frames import (
    BEGUN,
    BEGUN_AT,
    END,
    ENTRY,
    ERROR,
    FLAGS,
    FLOOR,
    JOBS,
    KEPT,
    LIMIT,
    MESSAGE,
    NOTHING_BEGUN,
    OWN_FUNCTION,
    PAGE_SIZE,
    PARCEL,
    PARCEL_RESULT,
    REFERS,
    STAGE_SIZE,
)
from polyexec_process._lessons import Lessons
from polyexec_process._memory import memory
from polyexec_process._parcels import Inbox, Parcel
from polyexec_process._workerprocess import WorkerProcess

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from polyexec.scheduling import Job, Window
    from polyexec.waiting import Condition
    from polyexec_process._answers import Answer

_PIPE_SIZE = 1 << 20
_F_SETPIPE_SZ = 1031
_DUMP_SIZE = 1 << 16


class Link:
    """Descriptors and state of one worker; the pool's lock guards all but `stream`."""

    window: Window

    def __init__(
        self,
        number: int,
        name: str,
        ended: Condition,
        chase: Callable[[int, signal.Signals], None],
    ) -> None:
        self.number: int = number
        self.name: str = name
        self.changed: Condition = ended
        self._chase = chase
        self.pid: int | None = None
        self.exitcode: int | None = None
        self.ready: bool = False
        self.dead: bool = False
        #: Whether it was killed on purpose.
        self.killed: bool = False
        #: Whether it was stopped (SIGSTOP) as it was held back, so that it is to be replaced.
        self.was_stopped: bool = False
        #: Whether it may end in order though all are killed, once that is known.
        self.spared: bool | None = None
        #: Whether its initializer failed.
        self.unprepared: bool = False
        self.process: WorkerProcess = WorkerProcess(self)
        self.leaving: bool = False
        #: Since when it has nothing more to do, and whether another has its place since.
        self.over_at: float | None = None
        self.lingers: bool = False
        self._told_end = False
        self.idle: bool = True
        self.done: int = 0
        self.since: float = 0.0
        #: Since when it is held back, until it is certain what it had begun by then.
        self.held: float | None = None
        self.out: deque[memoryview] = deque()
        #: Whether some calls have been parcels.
        self._has_parcels = False
        opened = _open()
        self.jobs: int = opened.jobs
        self.answers: int = opened.answers
        self._dump = opened.dump
        self._rights = opened.rights
        self._inbox = Inbox(opened.rights)
        self._lessons = Lessons(opened.rights, self._inbox)
        #: The worker's descriptors, until it is born.
        self.fds: tuple[int, ...] = opened.theirs
        page = memoryview(opened.page)
        self.words: memoryview = page[:PAGE_SIZE].cast("Q")
        self.stream: AnswerStream = AnswerStream(self.words, page[PAGE_SIZE:])
        self.words[BEGUN] = NOTHING_BEGUN
        self.words[LIMIT] = self.words[FLOOR] = 0

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

    def message(self, jobs: list[Job]) -> bytes:
        """Return *jobs* as a message, after what the worker must be taught for them.

        A job's payload is its function, pickled, its arguments, pickled or as a parcel, and the
        shared objects that they refer to, None if they can't.
        """
        lessons, pack = self._lessons, ENTRY.pack
        parts = lessons.before_all()
        entries: list[bytes] = []
        calls: list[bytes] = []
        taught = OWN_FUNCTION
        length, number, entry = -1, -1, b""  # of the last
        bare: Any = jobs  # the payload of that, if it was without arguments, which is shared
        for job in jobs:
            if job.payload is bare:
                entries.append(entry)
                continue
            function, call, needs = job.payload
            which = job.kind
            if which <= OWN_FUNCTION:
                which = OWN_FUNCTION
            elif which != taught:
                parts += lessons.function(which, function)
                taught = which
            if needs is not None:
                parts += lessons.blobs(needs)
                which |= REFERS
            if type(call) is Parcel:
                call = call.send(self._rights)
                which |= PARCEL
                self._has_parcels = True
            if which != number or len(call) != length:
                length, number = len(call), which
                entry = pack(length, number)
            entries.append(entry)
            if call:
                calls.append(call)
            bare = jobs if call else job.payload
        body = b"".join([*entries, *calls])
        head = MESSAGE.pack(MESSAGE.size + len(body), JOBS, len(jobs))
        return b"".join([*parts, head, body])

    def hold_back(self, begun: int) -> None:
        """Have the worker pass over all that it was sent, after number *begun*."""
        self.words[FLOOR] = self.window.sent
        self.words[LIMIT] = begun + 1

    def hold_back_all(self) -> None:
        """Have the worker begin no job any more."""
        self.words[FLOOR] = NOTHING_BEGUN
        self.words[LIMIT] = 0

    def finish(self) -> None:
        """Let the worker end once it has done what it was sent, and what is kept for it."""
        if not self._told_end and self.jobs >= 0:
            self._told_end = True
            self.write(MESSAGE.pack(MESSAGE.size, END, 0))
        self.leaving = True
        self.idle = False
        if not self.out and self.jobs >= 0:
            jobs, self.jobs = self.jobs, -1
            os.close(jobs)

    def signal(self, signum: signal.Signals) -> None:
        """Send the worker, and what its tasks started, *signum*."""
        if self.pid is None:
            return
        # The group alone: without one it has ended, and its number may be another process's; or it
        # has left it, which the nursery knows, its parent, who reaps it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signum)
        self._chase(self.number, signum)

    # -- from the worker -------------------------------------------------------------------------

    def unwrap(self, jobs: list[Job], answers: list[Answer]) -> list[Answer]:
        """Return *answers*, to *jobs*, without their flags: what was a parcel is opened."""
        if not (self._has_parcels or self.stream.has_flags):
            return answers
        return [
            self._unwrap(job, answer)
            if answer[0] >= PARCEL_RESULT or type(job.payload[1]) is not bytes
            else answer
            for job, answer in zip(jobs, answers, strict=True)
        ]

    def _unwrap(self, job: Job, answer: Answer) -> Answer:
        status, elapsed, data, _ = answer
        call = job.payload[1]
        if type(call) is Parcel:
            call.note_use(kept=bool(status & KEPT))
        if not status & PARCEL_RESULT:
            return status & ~FLAGS, elapsed, data, ()
        try:
            pieces = self._inbox.open(memoryview(data))
        except OSError as error:  # too many open files
            self._inbox.give_up(memoryview(data))
            return ERROR, elapsed, dumps_exception(error), ()
        return status & ~FLAGS, elapsed, pieces[0], pieces[1:]

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

    @property
    def last_begun(self) -> int:
        """The number of the job that it began last, before the first if it began none since."""
        begun = self.begun
        return self.window.first - 1 if begun is None else begun

    @property
    def running(self) -> Job | None:
        """The job that it has begun, and not answered."""
        begun = self.begun
        return None if begun is None else self.window.at(begun)

    def describe(self) -> dict[str, Any]:
        """Return what users are told of a worker; its memory is in bytes."""
        job = self.running
        state = "starting" if not self.ready else "idle" if job is None else "busy"
        return {
            "name": self.name,
            "pid": self.pid,
            "state": "leaving" if self.leaving else state,
            "task": None if job is None else job.name,
            "tasks_done": self.done,
            "memory": resident(self.pid),
        }

    def is_stopped(self) -> bool:
        """Return whether a signal has stopped it; False where that can't be told."""
        try:
            status = Path(f"/proc/{self.pid}/stat").read_bytes()
        except OSError:
            return False
        return status.rpartition(b")")[2].split()[:1] == [b"T"]

    def last_words(self) -> str | None:
        """Return what faulthandler wrote as the worker died, None if nothing."""
        dump = os.pread(self._dump, _DUMP_SIZE, 0)
        return dump.decode(errors="replace") or None

    def release_fds(self) -> None:
        """Close the worker's own descriptors, which it has got by now."""
        fds, self.fds = self.fds, ()
        for fd in fds:
            if fd != self._dump:
                os.close(fd)

    def release_page(self) -> None:
        """Let go of the page and the stage, in a process that has no use for them."""
        self.words.release()
        self.stream.stage.release()

    def close(self) -> None:
        """Close everything."""
        self.release_fds()
        # Forgotten first: a child forked in between would close them again, by then others'.
        fds = (self.jobs, self.answers, self._dump)
        self.jobs = self.answers = self._dump = -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)
        self._rights.close()
        self._inbox.close()
        self.out.clear()


class _Opened(NamedTuple):
    jobs: int
    answers: int
    page: mmap.mmap
    dump: int
    rights: socket.socket
    theirs: tuple[int, ...]


def _open() -> _Opened:
    """Open what connects a worker; all of it, or nothing."""
    with contextlib.ExitStack() as undo:

        def owned(fd: int) -> int:
            undo.callback(os.close, fd)
            return fd

        their_jobs, jobs = map(owned, os.pipe())
        answers, their_answers = map(owned, os.pipe())
        page, dump = owned(memory("polyexec-page")), owned(memory("polyexec-dump"))
        os.ftruncate(page, PAGE_SIZE + STAGE_SIZE)
        rights, theirs = socket.socketpair()
        undo.callback(rights.close)
        their_rights = owned(theirs.detach())
        rights.settimeout(0)
        for fd in (jobs, answers):
            # Beyond what all pipes of a user may hold, this is refused; a small pipe will do.
            with contextlib.suppress(OSError):
                fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_SIZE)
            # A worker that is itself blocked on writing answers would deadlock us.
            os.set_blocking(fd, False)
        mapped = mmap.mmap(page, PAGE_SIZE + STAGE_SIZE)
        undo.pop_all()
        theirs_all = (their_jobs, their_answers, page, dump, their_rights)
        return _Opened(jobs, answers, mapped, dump, rights, theirs_all)


def resident(pid: int | None) -> int:
    """Return how many bytes of memory a process holds, 0 where that can't be told."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_bytes().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
