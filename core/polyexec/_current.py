"""Which executor's task or callback the current thread is running."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyexec._feeder import Feeder
    from polyexec.executor import Executor
    from polyexec.serialization.destinations import Destination
    from polyexec.serialization.uses import Uses
    from polyexec.sharing import Shared


class _Here(threading.local):
    executor: Executor | None = None
    #: Whether the thread must not wait for room: it drops something, or shuts down.
    overdraws: bool = False
    #: The map whose inputs the thread submits.
    feeding: Feeder | None = None
    #: How handles on shared objects are pickled.
    refer: Callable[[Shared[Any]], tuple[Any, ...] | None] | None = None
    #: The globals that functions that are being unpickled bring, by module, if somebody asks.
    brought: dict[str, set[str]] | None = None
    #: Whether what is being unpickled came from the process that started this one.
    reading: bool = False
    #: The classes that are needed for what is being pickled, if they are not to go with it.
    needs: list[Any] | None = None
    #: Their definitions, if they go apart.
    definitions: dict[str, Any] | None = None
    #: The globals that functions look up that are being pickled, if somebody asks.
    uses: Uses | None = None
    #: Where what is pickled goes, None if nothing is known of that.
    destination: Destination | None = None


here = _Here()
