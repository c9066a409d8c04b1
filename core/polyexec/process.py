"""`multiprocessing.process`, with Process and current_process bound to the default context."""

from __future__ import annotations

import multiprocessing.process
from typing import TYPE_CHECKING, Any

from polyexec._default import default_context, late, others_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BaseProcess", "Process", "active_children", "current_process", "parent_process"]

__getattr__: Callable[[str], Any] = others_of("multiprocessing.process")

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

    @property
    def sentinel(self) -> int:
        """A descriptor that is ready once the process has ended."""
        made: int | None = super().sentinel
        # A context may make it on first use only.
        return self._popen.make_sentinel() if made is None else made  # type: ignore[attr-defined]  # BaseProcess's own

    @staticmethod
    def _after_fork() -> None:
        default_context().Process._after_fork()
