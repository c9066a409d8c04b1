"""A private cluster: a head and a node in one process of their own, for one program.

They listen on a socket in a folder that nobody else may look into. The process watches its program
and goes when that has gone, however it ended; the workers go with it, and so does the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, Final

from polyexec_process.engine import (
    Births,
    current_directory,
    interpreter_command,
    watch_process,
)
from polyexec_zmq._environment import ADDRESS

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How long the path of a socket may be.
_LONGEST_PATH = 80
#: How many seconds it may take to end, and pass between looks at whether it has.
_PATIENCE: Final = 5.0
_GLANCE: Final = 0.005
_STDERR: Final = 2


class Embedded:
    """The process, as its program sees it; *cpus* is how many workers it is good for."""

    def __init__(self, cpus: int, method: str, resources: Mapping[str, int]) -> None:
        folder = tempfile.gettempdir()
        if not folder.isascii() or len(folder) > _LONGEST_PATH:
            folder = "/tmp"  # noqa: S108 - a folder of our own is made in it
        self.folder: str = tempfile.mkdtemp(prefix="polyexec-", dir=folder)
        self.address: str = f"ipc://{self.folder}/head"
        #: What letters go through; it is closed at the other end once the process has ended.
        self.sock, theirs = socket.socketpair()
        arguments = (theirs.fileno(), os.getpid(), self.folder)
        node = {"cpus": cpus, "method": method, "resources": dict(resources)}
        path = [entry or current_directory() or "" for entry in sys.path]
        source = f"import sys; sys.path[:] = {path!r}; "
        source += f"from polyexec_zmq._embedded import main; main(*{arguments!r}, **{node!r})"
        theirs.set_inheritable(True)
        try:
            self.pid: int = os.posix_spawn(
                sys.executable,
                interpreter_command(sys.executable, source),
                dict(os.environ),
                setsigmask=(),
                setsigdef=(signal.SIGINT,),
            )
        except BaseException:
            self.sock.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        finally:
            theirs.close()

    def close(self, *, at_once: bool = False) -> None:
        """End it, and return once it has ended; *at_once* if it does not answer any more."""
        with contextlib.suppress(OSError):  # it has ended
            self.sock.shutdown(socket.SHUT_RDWR)
        if not self._has_ended(0 if at_once else _PATIENCE):
            # It is stopped, say. Its workers are ended by those who started them.
            os.kill(self.pid, signal.SIGKILL)
            self._has_ended(None)
        self.sock.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _has_ended(self, patience: float | None) -> bool:
        """Return whether it ends within *patience* seconds, None for any; then it is reaped."""
        deadline = None if patience is None else time.monotonic() + patience
        try:
            while deadline is not None and not os.waitpid(self.pid, os.WNOHANG)[0]:
                if time.monotonic() > deadline:
                    return False
                time.sleep(_GLANCE)
            if deadline is None:
                os.waitpid(self.pid, 0)
        except ChildProcessError:  # somebody else waits for all children
            return True
        return True

    def abandon(self) -> None:
        """Close this forked child's copy of what the process watches: it is the parent's."""
        self.sock.close()


def main(fd: int, parent: int, folder: str, **options: Any) -> None:
    """Be the head and the node of the process *parent*, until that is gone."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # No descriptor that comes along later may take the place of a closed standard stream.
    while (null := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.dup2(null, 0)
    os.close(null)
    try:
        with socket.socket(fileno=fd) as sock:
            _serve(sock, parent, folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve(sock: socket.socket, parent: int, folder: str, options: Mapping[str, Any]) -> None:
    sock.set_inheritable(False)
    address = f"ipc://{folder}/head"
    env = {ADDRESS: address}
    # First, for it loads what it needs while we do.
    spare = Births(options["method"], None, env, [], 1)
    from polyexec_zmq._loop import HeadLoop
    from polyexec_zmq._node import Node
    from polyexec_zmq._orphans import INIT, reap_orphans
    from polyexec_zmq._stream import Stream

    loop = HeadLoop(address)

    def tell(_: str) -> None:
        """Let the program join: not before, or it might come at once, and find no workers."""
        loop.house.admit(Stream(sock))

    node = Node(
        address,
        None,
        name="embedded",
        env=env,
        house=loop,
        spare=spare,
        tell=tell,
        **options,
    )
    node.start()
    if parent == INIT:
        reap_orphans(loop)
    pidfd = watch_process(parent)
    if pidfd is not None:
        loop.watch(pidfd, lambda: False)
    # A program that has been stopped for a while has not gone; that would be told.
    loop.head.watched.add(parent)
    if os.getppid() == parent:
        loop.run()
    node.close()
    loop.close()
    loop.context.destroy(linger=0)
