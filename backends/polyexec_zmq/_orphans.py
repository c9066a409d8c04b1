"""What tasks leave behind, where the program is the first process of its namespace.

Their orphans would be that process's to reap, and it does not know of them. So the private
cluster's process takes them over.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Final

from polyexec_process.engine import adopt_orphans

if TYPE_CHECKING:
    from polyexec_zmq._loop import HeadLoop

INIT: Final = 1


def reap_orphans(loop: HeadLoop) -> None:
    """Have *loop*, which is to run on the main thread, reap whatever dies."""
    reading, writing = os.pipe()
    for fd in (reading, writing):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    adopt_orphans()

    def reap() -> bool:
        with contextlib.suppress(BlockingIOError):
            os.read(reading, 4096)
        with contextlib.suppress(ChildProcessError):  # there is none left
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        return True

    loop.watch(reading, reap)
