"""The nursery: a process with one thread that bears the workers, watches them, and outlives none.

Workers are born by a process that runs no other thread, so that none can inherit a lock in a
state that nobody will change; replacements are born in the same state as the first. It is forked
from the executor's process (`fork`), or is a fresh interpreter that forks (`forkserver`) or starts
fresh interpreters (`spawn`), but for the first worker, which it forks while it is as good as one
itself. It reports each death with its exit status, and when the executor's process has gone it
kills the workers, busy or not, and goes as well.

Over its socket, each message a length and a marshalled tuple, descriptors sent along:

    to it      ("bear", number) with the worker's descriptors
               ("signal", number, signum) ("end", 0)
    from it    ("born", number, pid) ("failed", number, why) ("died", number, status)

The first worker waits for all that this imports, `typing` and `pickle` among what it does without.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import marshal
import os
import select
import signal
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_LENGTH = struct.Struct("<I")
_FD = struct.Struct("i")
_FDS = 6
_ROOM_FOR_FDS = socket.CMSG_LEN(_FDS * _FD.size)
_STDERR = 2
#: How often, in seconds, it looks whether its parent is there, where nothing tells it.
_GLANCE = 1.0
_INIT = 1
_PR_SET_CHILD_SUBREAPER = 36


def frame(message: tuple[Any, ...]) -> bytes:
    """Return *message* as it is sent."""
    data = marshal.dumps(message)
    return _LENGTH.pack(len(data)) + data


def send(sock: socket.socket, message: tuple[Any, ...]) -> None:
    """Send *message*."""
    sock.sendall(frame(message))


def receive(sock: socket.socket, flags: int = 0) -> tuple[tuple[Any, ...], list[int]] | None:
    """Return the next message and its descriptors, None when there will be no more.

    *flags* is as for `socket.recv`; BlockingIOError is raised if there is none, and those forbid to
    wait for it.
    """
    # As `socket.recv_fds` does, which does not pass flags on.
    data, about, _, _ = sock.recvmsg(_LENGTH.size, _ROOM_FOR_FDS, flags)
    if not data:
        return None
    fds = [fd for _, _, some in about for (fd,) in _FD.iter_unpack(some)]
    while len(data) < _LENGTH.size:
        data += _more(sock, _LENGTH.size - len(data))
    (length,) = _LENGTH.unpack(data)
    body = b""
    while len(body) < length:
        body += _more(sock, length - len(body))
    message: tuple[Any, ...] = marshal.loads(body)  # noqa: S302 - from our own parent or child
    return message, fds


def _more(sock: socket.socket, size: int) -> bytes:
    data = sock.recv(size)
    if not data:
        raise EOFError("the other end closed in the middle of a message")
    return data


class Nursery:
    """Serves the socket in the nursery process."""

    def __init__(
        self,
        sock: socket.socket,
        parent: int,
        command: Sequence[str],
        initializer: Callable[[], object] | None,
    ) -> None:
        self._sock = sock
        self._parent = parent
        self._command = command
        self._initializer = initializer
        self._numbers: dict[int, int] = {}
        #: What this waits with, and no worker is to have.
        self._watching: list[int] = []
        #: Whether this is as good as an interpreter that has just been started.
        self._is_fresh = True

    def serve(self) -> None:
        """Bear workers until the parent is gone, or closes the socket."""
        gc.freeze()
        try:
            try:
                # The first worker need not wait for what follows.
                goes_on = self._obey(socket.MSG_DONTWAIT)
            except BlockingIOError:
                goes_on = True
            if goes_on:
                self._watch()
        except (BrokenPipeError, ConnectionResetError, EOFError):
            return  # the parent is gone
        finally:
            self._end()

    def _watch(self) -> None:
        """Obey, hear of deaths, and return when the parent is gone."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        reading, writing = os.pipe()
        for fd in (reading, writing):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        poll.register(reading, select.POLLIN)
        self._watching += reading, writing
        parent = watch_process(self._parent)
        if parent is not None:
            poll.register(parent, select.POLLIN)
            self._watching.append(parent)
        self._reap()  # what has died before
        while os.getppid() == self._parent:
            for fd, _ in poll.poll(None if parent is not None else _GLANCE * 1000):
                if fd == parent:
                    return
                if fd == reading:
                    with contextlib.suppress(BlockingIOError):
                        os.read(reading, 4096)
                    self._reap()
                elif not self._obey():
                    return

    def _obey(self, flags: int = 0) -> bool:
        received = receive(self._sock, flags)
        if received is None:
            return False
        (what, number, *more), fds = received
        if what == "end":
            return False
        if what == "signal":
            for pid in [pid for pid, each in self._numbers.items() if each == number]:
                _signal_stray(pid, *more)
            return True
        try:
            pid = self._bear(fds)
        except OSError as error:
            send(self._sock, ("failed", number, str(error)))
        else:
            self._numbers[pid] = number
            send(self._sock, ("born", number, pid))
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _bear(self, fds: list[int]) -> int:
        if len(fds) < _FDS:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        # One that is started from here has all standard streams, even where this has not.
        streams = sys.stdin, sys.stdout, sys.stderr
        is_fresh, self._is_fresh = self._is_fresh and None not in streams, False
        if self._command and not (is_fresh and _has_one_thread()):
            return self._spawn(fds)
        pid = os.fork()
        if pid:
            with contextlib.suppress(OSError):  # the child did it first, or is gone already
                os.setpgid(pid, pid)
            return pid
        code = 1
        try:
            self._sock.close()
            if self._watching:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for fd in self._watching:
                    os.close(fd)
            if self._command:
                del sys.argv[1:]  # they are not the program's
            code = be_worker(fds, self._initializer)
        except BaseException:  # noqa: BLE001 - it must never return into the nursery's loop
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)

    def _spawn(self, fds: list[int]) -> int:
        for fd in fds:
            os.set_inheritable(fd, True)  # noqa: FBT003 - its only signature
        command = [*self._command, *map(str, fds)]
        return os.posix_spawn(command[0], command, os.environ, setpgroup=0)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            number = self._numbers.pop(pid, None)
            if number is not None:
                send(self._sock, ("died", number, os.waitstatus_to_exitcode(status)))

    def _end(self) -> None:
        for pid in self._numbers:
            with contextlib.suppress(OSError):  # it ended by itself
                os.killpg(pid, signal.SIGKILL)
            _signal_stray(pid, signal.SIGKILL)


def _signal_stray(pid: int, signum: int) -> None:
    """Send a worker *signum* if it has left its group, which is signalled as a whole.

    The number is the worker's until that is reaped, which only this process does.
    """
    with contextlib.suppress(OSError):  # it runs as another user by now
        if os.getpgid(pid) != pid:
            os.kill(pid, signum)


def _has_one_thread() -> bool:
    """Whether nothing that runs at the start of every interpreter has begun a thread."""
    try:
        return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208 - pathlib takes long to import
    except OSError:  # that can't be told here
        return False


def be_worker(fds: list[int], initializer: Callable[[], object] | None = None) -> int:
    """Turn this process into the worker that has these descriptors; return its exit code."""
    from polyexec_process._worker import run_worker

    os.setpgid(0, 0)
    return run_worker(fds, initializer)


def be_nursery(
    sock: socket.socket,
    parent: int,
    command: Sequence[str] = (),
    initializer: Callable[[], object] | None = None,
) -> None:
    """Turn this process into a nursery; returns when it is to end.

    It starts *command*, and a worker's descriptors as its arguments, or forks where there is none.
    """
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for signum in (signal.SIGTERM, signal.SIGCHLD):  # nor does anybody else wait for our children
        signal.signal(signum, signal.SIG_DFL)
    # What the forking thread blocks, SIGCHLD perhaps, we must hear of.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # No descriptor that comes along later may take the place of a closed standard stream, here or
    # in what is started from here.
    while (null := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(null, True)  # noqa: FBT003 - its only signature
    os.dup2(null, 0)
    os.close(null)
    if parent == _INIT:
        adopt_orphans()
    Nursery(sock, parent, command, initializer).serve()


def main(fd: int, parent: int, names: Sequence[str] = (), program: str | None = None) -> None:
    """Be the nursery of a fresh interpreter, whose arguments are the command that starts a worker.

    Without one it forks them, and imports before what they are to have, *names* among that.
    """
    command = sys.argv[1:]
    if not command:
        from polyexec_process import _birth, _carry, _worker  # noqa: F401 - what every worker needs
    if names:
        from polyexec_process._preload import preload

        preload(names, program)
    os.set_inheritable(fd, False)  # noqa: FBT003 - its only signature; a worker would hold it open
    with socket.socket(fileno=fd) as sock:
        be_nursery(sock, parent, command)


def adopt_orphans() -> None:
    """Be the parent of what workers leave behind, and reap it, where the program itself would be.

    As the first process of a container it would have to, and does not know of them.
    """
    import ctypes

    with contextlib.suppress(AttributeError):  # not on every system
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def watch_process(pid: int) -> int | None:
    """Return a descriptor that is ready once the process *pid* has ended, where there are such."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # a kernel without it, or a sandbox that forbids it
        return None


def current_directory() -> str | None:
    """Return the current directory, None if it has been removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - pathlib takes long to import
    except OSError:
        return None
