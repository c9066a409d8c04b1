"""Ends that come before the work is done: Ctrl-C, and a reader of the results that has gone."""

from __future__ import annotations

import os
import select
import signal
import stat
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from polyexec.signals import signalled

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
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

    A thread does so, for the main one may wait for room in a pipe.
    """
    previous = signal.getsignal(signal.SIGINT)
    if previous is not signal.default_int_handler or not _in_main_thread():
        yield
        return
    with signalled(signal.SIGINT) as came:
        threading.Thread(
            target=_heed, args=(came.dup(), notify), name="polyexec-signals", daemon=True
        ).start()
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
