"""What makes the contexts `fork`, `spawn` and `forkserver`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polyexec import hookimpl
from polyexec.arguments import reject_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polyexec import Context

__all__ = ["polyexec_create_context"]


@hookimpl
def polyexec_create_context(name: str, options: Mapping[str, Any]) -> Context:
    """Make a context of processes; none has options."""
    from polyexec_process import _context

    reject_unknown(f"get_context({name!r})", options, ())
    kinds: dict[str, type[_context.ProcessContext]] = {
        "fork": _context.ForkContext,
        "forkserver": _context.ForkServerContext,
        "spawn": _context.SpawnContext,
    }
    return kinds[name]()
