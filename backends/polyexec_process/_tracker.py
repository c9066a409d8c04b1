"""Workers share the resource tracker of the executor's process, as multiprocessing's processes do.

A tracker removes what was registered with it, as soon as nobody holds its pipe open: a worker's own
would remove with the worker what others use still. But to start one for each executor would take
long, and most have no use for it. So a worker asks for the pipe when it first needs it:

    worker                                           executor's process
    one end of a pair of sockets, as a record   ->   read by the reactor, passed to a thread
    waits at the other                          <-   the pipe, of a tracker that may start for that
    REGISTER through the pipe

An end that nobody answers on closes, with whoever had it; the worker has a tracker of its own then.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, Final

_MODULE: Final = "multiprocessing.resource_tracker"

# -- the worker's side -----------------------------------------------------------------------------


def share_tracker(send_fd: Callable[[int], object], *, inherited: bool) -> None:
    """Have this worker ask for the tracker, by a socket that *send_fd* sends, when it needs it.

    *inherited*: whether one that this process has is that of the executor's process.
    """
    module: Any = sys.modules.get(_MODULE)
    fd = module._resource_tracker._fd if module is not None and inherited else None
    pipe = _Pipe(send_fd, fd)
    if module is not None:
        pipe.replace(module)
    else:
        sys.meta_path.insert(0, _Finder(pipe))


class _Pipe:
    """The tracker's `_fd`: asked for as it is first looked at with the tracker's lock held."""

    def __init__(self, send_fd: Callable[[int], object], fd: int | None) -> None:
        self._send_fd = send_fd
        self._fd = fd
        self._asks = True

    def replace(self, module: Any) -> None:
        """Be the descriptor of the tracker in *module*."""
        tracker = module._resource_tracker
        # Another thread may have held its lock as this process was forked.
        tracker.__init__()
        tracker.__class__ = type("ResourceTracker", (module.ResourceTracker,), {"_fd": self})

    def __get__(self, tracker: Any, kind: type) -> int | None:
        # Who looks without the lock needs none: a child that was just forked, for one.
        if self._fd is None and self._asks and _is_held(tracker._lock):
            self._asks = False  # nor meanwhile, for the collector may have it looked at
            try:
                self._fd = self._ask()
            except BaseException:  # Ctrl-C
                self._asks = True
                raise
        return self._fd

    def __set__(self, tracker: Any, fd: int | None) -> None:
        self._fd = fd

    def _ask(self) -> int | None:
        ours, theirs = socket.socketpair()
        with ours, contextlib.suppress(OSError):  # nobody is there any more
            with theirs:
                self._send_fd(theirs.fileno())
            for fd in socket.recv_fds(ours, 1, 1)[1]:
                os.set_inheritable(fd, False)  # noqa: FBT003 - its only signature
                return fd
        return None


def _is_held(lock: Any) -> bool:
    held: bool = lock._is_owned() if hasattr(lock, "_is_owned") else lock.locked()
    return held


class _Finder:
    """Finds the tracker's module, as the other finders do, for a pipe to replace its descriptor.

    Few workers need that module, and to import it takes long.
    """

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe: _Pipe | None = pipe

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002 - the interface's signature
        """Return the module's spec, None for any other's."""
        if name != _MODULE or self._pipe is None:
            return None
        from importlib.util import find_spec

        pipe, self._pipe = self._pipe, None
        spec = find_spec(name)
        if spec is not None:
            spec.loader = _Loader(spec.loader, pipe)  # type: ignore[assignment]  # but for its type
        return spec


class _Loader:
    """A module's loader, but that a pipe then replaces the tracker's descriptor."""

    def __init__(self, loader: Any, pipe: _Pipe) -> None:
        self._loader = loader
        self._pipe = pipe

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Fill *module*."""
        self._loader.exec_module(module)
        self._pipe.replace(module)


# -- the side of the executor's process ------------------------------------------------------------


def answer_tracker(fd: int) -> None:
    """Send the pipe of this process's tracker to the socket *fd*, and close that; does not wait."""
    sock = socket.socket(fileno=fd)
    thread = threading.Thread(target=_answer, args=(sock,), name="polyexec-tracker", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is on its way out, and starts no more
        sock.close()


def _answer(sock: socket.socket) -> None:
    from polyexec_process import _births

    # It may be that none can be started, or that a warning of a dead one is an error.
    with sock, contextlib.suppress(OSError, Warning):
        # A nursery that is forked meanwhile would have the module half imported, and locked.
        with _births.one_at_a_time:
            from multiprocessing.resource_tracker import getfd

            pipe = getfd()
        assert pipe is not None
        socket.send_fds(sock, [b"!"], [pipe])
