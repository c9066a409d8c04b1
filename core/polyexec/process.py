"""`multiprocessing.process`, with Process and current_process bound to the default context."""

from __future__ import annotations

import multiprocessing.process
from typing import TYPE_CHECKING, Any

from polyexec._default import default_context, late

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BaseProcess", "Process", "active_children", "current_process", "parent_process"]

BaseProcess = multiprocessing.process.BaseProcess

current_process: Callable[..., Any] = late("current_process")
parent_process: Callable[..., Any] = late("parent_process")
active_children: Callable[..., Any] = late("active_children")


class Process(BaseProcess):
    """A process of whatever context is the default one when it is started.

    So a subclass follows a later `set_start_method`.
    """

    _start_method = None

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        return default_context().Process._Popen(process_obj)

    @staticmethod
    def _after_fork() -> None:
        default_context().Process._after_fork()
