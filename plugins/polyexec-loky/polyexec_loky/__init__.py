"""The `loky` context: tasks on the processes of loky's pools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polyexec import hookimpl
from polyexec.arguments import reject_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polyexec_loky._context import LokyContext

__all__ = ["POLYEXEC_API", "polyexec_create_context"]

POLYEXEC_API = 1


@hookimpl
def polyexec_create_context(options: Mapping[str, Any]) -> LokyContext:
    """Make a context of loky's processes; it has no options."""
    from polyexec_loky._context import LokyContext

    reject_unknown("get_context('loky')", options, ())
    return LokyContext()
