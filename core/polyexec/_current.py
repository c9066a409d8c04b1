"""Which executor's task or callback the current thread is running."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyexec._feeder import Feeder
    from polyexec.executor import Executor


class _Here(threading.local):
    executor: Executor | None = None
    #: Whether the thread must not wait for room: it drops something, or shuts down.
    overdraws: bool = False
    #: The map whose inputs the thread submits.
    feeding: Feeder | None = None


here = _Here()
