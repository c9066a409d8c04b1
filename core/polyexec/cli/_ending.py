"""Ends that come before the work is done: Ctrl-C, and a reader of the results that has gone."""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import IO

GRACE = 0.5  # seconds
INTERRUPTED = 130  # what a shell reports for SIGINT


def end_within_grace(code: int) -> None:
    """End this process with *code* after `GRACE` seconds, if it has not come to its end by then.

    The interpreter waits for threads at its exit, and a task on a thread cannot be stopped; nor can
    a write to a pipe that nobody reads.
    """
    timer = threading.Timer(GRACE, os._exit, (code,))
    timer.daemon = True
    timer.start()


@contextmanager
def on_interrupt(notify: Callable[[], None]) -> Iterator[None]:
    """At SIGINT call *notify*, where `KeyboardInterrupt` would tear a line of output apart.

    Whatever comes of that, the process ends within `GRACE` seconds of the signal. An ignored
    SIGINT, as in a background job, stays ignored.

    A thread does so: Python's own handlers run between two instructions of the main thread. A
    signal that comes just before that waits, as for room in a pipe, does not end the wait.
    """
    previous = signal.getsignal(signal.SIGINT)
    if previous is not signal.default_int_handler or not _in_main_thread():
        yield
        return
    came, tells = socket.socketpair()  # Windows has signals written to nothing else
    with tells:
        tells.settimeout(0)
        threading.Thread(
            target=_heed, args=(came, notify), name="polyexec-signals", daemon=True
        ).start()
        with _signals_written_to(tells):
            signal.signal(signal.SIGINT, _handler())
            try:
                yield
            finally:
                signal.signal(signal.SIGINT, previous)


def _heed(came: socket.socket, notify: Callable[[], None]) -> None:
    with came:
        while number := came.recv(1):
            if number[0] == signal.SIGINT:
                end_within_grace(INTERRUPTED)
                notify()


def _handler() -> Callable[[int, FrameType | None], None]:
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a child, forked by a task on a thread, has inherited us
            signal.default_int_handler(number, frame)

    return handle


_writing = False  # whether the numbers of this process's signals are written somewhere


@contextmanager
def _signals_written_to(tells: socket.socket) -> Iterator[None]:
    global _writing  # noqa: PLW0603 - as there is one such descriptor for the whole process
    signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
    _writing = True
    try:
        yield
    finally:
        _writing = False
        signal.set_wakeup_fd(-1)


def _forked() -> None:
    """Have a child's signals written nowhere: they would end its parent."""
    if _writing:
        signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def watch_reader(stream: IO[bytes], notify: Callable[[], None]) -> None:
    """Call *notify*, from a thread, when nobody reads the pipe or socket behind *stream* any more.

    A write would tell, too, but the next result may be hours away. Where that cannot be polled,
    or *stream* is something else, nothing is watched.
    """
    try:
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
    except OSError:  # a stand-in for standard output
        return
    if hasattr(select, "poll") and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        threading.Thread(
            target=_wait_for_hangup, args=(descriptor, notify), name="polyexec-stdout", daemon=True
        ).start()


def _wait_for_hangup(descriptor: int, notify: Callable[[], None]) -> None:
    poll = select.poll()
    poll.register(descriptor, 0)  # POLLERR and POLLHUP are always reported
    if any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll()):
        notify()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
