"""The `thread` context: tasks and processes are threads of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polyexec import hookimpl
from polyexec.arguments import reject_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polyexec_thread._context import ThreadContext

__all__ = ["polyexec_create_context"]


@hookimpl
def polyexec_create_context(options: Mapping[str, Any]) -> ThreadContext:
    """Make a context of threads; it has no options."""
    from polyexec_thread._context import ThreadContext

    reject_unknown("get_context('thread')", options, ())
    return ThreadContext()
