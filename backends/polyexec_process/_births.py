"""The parent's end of a nursery: starts it, asks it for workers, hears of their deaths."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import sys
import threading
import warnings
from array import array
from typing import TYPE_CHECKING, Any, TypeAlias

from polyexec_process._nursery import be_nursery, current_directory, frame, receive, send
from polyexec_process._preload import program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: A number, and the descriptors that are to be its own.
NewWorker: TypeAlias = "tuple[int, tuple[int, ...]]"

#: What caps the threads of BLAS and OpenMP libraries, where the user has not.
_THREAD_CAPS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

#: What a fresh interpreter runs to be a worker; its arguments are not the program's.
_WORKER = (
    "import os; from polyexec_process._nursery import be_worker; "
    "fds = [int(fd) for fd in sys.argv[1:]]; del sys.argv[1:]; os._exit(be_worker(fds))"
)
_STDERR = 2
#: What holds while a nursery is started: what one is to inherit, no other may.
one_at_a_time = threading.RLock()


def _unlock_in_child() -> None:
    global one_at_a_time  # noqa: PLW0603 - it is the parent's, whose other thread may hold it
    one_at_a_time = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_in_child)


class Births:
    """One nursery, which bears workers in the way of *method*.

    *waiting* is a thread that does nothing until this is there.
    """

    def __init__(
        self,
        method: str,
        initializer: Callable[[], object] | None,
        env: Mapping[str, str],
        preload: list[str],
        threads: int,
        *,
        waiting: threading.Thread | None = None,
    ) -> None:
        caps = {name: str(threads) for name in _THREAD_CAPS if name not in os.environ}
        self._env = {**caps, **env}
        with one_at_a_time:
            self.sock, theirs = map(_above_stdio, socket.socketpair())
            for sock in (self.sock, theirs):
                sock.settimeout(None)  # whatever the program's default is
            try:
                if method == "fork":
                    self.pid = self._fork(theirs, initializer, waiting)
                else:
                    self.pid = self._exec(theirs, method, preload)
            except BaseException:
                self.sock.close()
                raise
            finally:
                theirs.close()

    def bear(self, worker: NewWorker) -> None:
        """Ask for a worker; any thread may call, or ask as below.

        Neither blocks, for the nursery may be waiting for us to read; OSError is raised instead. As
        little as this is sent as a whole, or not at all.
        """
        number, fds = worker
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))]
        self.sock.sendmsg([frame(("bear", number))], rights, socket.MSG_DONTWAIT)

    def signal(self, number: int, signum: signal.Signals) -> None:
        """Have a worker that has left its group get *signum*."""
        with contextlib.suppress(OSError):  # it has ended; or who means it says so again
            self.sock.send(frame(("signal", number, int(signum))), socket.MSG_DONTWAIT)

    @property
    def is_there(self) -> bool:
        """Whether the nursery has not ended, as far as is known."""
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False

    def hear(self) -> tuple[Any, ...] | None:
        """Return the nursery's next message, None if it has ended."""
        try:
            received = receive(self.sock)
        except (ConnectionResetError, EOFError):
            return None
        return None if received is None else received[0]

    def close(self) -> None:
        """Let the nursery end, and wait until it has."""
        # Not by closing alone: something that was forked without our knowledge may hold it open.
        with contextlib.suppress(OSError):  # it has ended
            send(self.sock, ("end", 0))
        self.sock.close()
        with contextlib.suppress(ChildProcessError):  # somebody else waits for all children
            os.waitpid(self.pid, 0)

    def _fork(
        self,
        sock: socket.socket,
        initializer: Callable[[], object] | None,
        waiting: threading.Thread | None,
    ) -> int:
        load_what_workers_need()
        if not {threading.current_thread(), waiting}.issuperset(threading.enumerate()):
            # What a worker may load later, for another thread may be about to: that leaves it half
            # loaded in the child, and the lock of the import held by nobody.
            import hashlib  # noqa: F401

            from polyexec import _chunk  # noqa: F401
            from polyexec.serialization import namespaces  # noqa: F401
        parent = os.getpid()
        for stream in (sys.stdout, sys.stderr):
            # What is in the buffers is the parent's to write.
            with contextlib.suppress(AttributeError, ValueError, OSError):
                stream.flush()
        pid = _quiet_fork()
        if pid:
            return pid
        try:
            self.sock.close()
            for name, value in self._env.items():  # `update` looks for the kind of what it is given
                os.environ[name] = value
            be_nursery(sock, parent, initializer=initializer)
        except BaseException:  # noqa: BLE001 - it must never return into the parent's code
            import traceback

            traceback.print_exc()
        finally:
            os._exit(0)

    def _exec(self, sock: socket.socket, method: str, preload: list[str]) -> int:
        import multiprocessing.spawn

        executable: Any = multiprocessing.spawn.get_executable()
        path = [entry or current_directory() or "" for entry in sys.path]
        setting = "import sys; sys.path[:] = {!r}; "
        about = sock.fileno(), os.getpid()
        source = setting.format(path) + "from polyexec_process._nursery import main; "
        if method == "spawn":
            command = interpreter_command(executable, f"{source}main{about!r}")
            command += interpreter_command(executable, setting.format(path) + _WORKER)
        else:
            source += f"main{(*about, preload, program())!r}"
            command = interpreter_command(executable, source)
        sock.set_inheritable(True)
        return os.posix_spawn(
            executable,
            command,
            {**os.environ, **self._env},
            setsigmask=(),
            setsigdef=(signal.SIGINT,),
        )


def load_what_workers_need() -> None:
    """Load what every worker does, for those to inherit that are forked from this process."""
    import faulthandler  # noqa: F401

    from polyexec.serialization import deliveries  # noqa: F401
    from polyexec_process import _birth, _carry, _worker  # noqa: F401


def interpreter_command(executable: str, source: str) -> list[str]:
    """Return the command that runs *source* in a fresh interpreter with our flags."""
    import subprocess

    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
    # What lies in the current directory must not stand in for what we import.
    safe = ["-P"] if sys.version_info >= (3, 11) and "-P" not in flags else []
    return [os.fsdecode(executable), *flags, *safe, "-c", source]


def _above_stdio(sock: socket.socket) -> socket.socket:
    """Return *sock* with another descriptor, if it took the place of a closed standard stream."""
    if sock.fileno() > _STDERR:
        return sock
    with sock:
        return socket.socket(fileno=fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1))


def _quiet_fork() -> int:
    """Fork; without Python's warning where all other threads are ours, which a child can miss."""
    main = threading.main_thread()
    others = [thread for thread in threading.enumerate() if thread is not main]
    if not all(thread.name.startswith("polyexec-") for thread in others):
        return os.fork()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
