"""What makes the context `zmq`, and the commands that run a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polyexec import hookimpl
from polyexec.arguments import reject_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polyexec import Context

__all__ = ["polyexec_cli_commands", "polyexec_create_context"]


@hookimpl
def polyexec_create_context(name: str, options: Mapping[str, Any]) -> Context:
    """Make a context on a cluster; `_joining` says what its options are."""
    reject_unknown(f"get_context({name!r})", options, _OPTIONS)
    from polyexec_zmq._joining import make_context

    return make_context(dict(options))


@hookimpl
def polyexec_cli_commands() -> Sequence[Any]:
    """Return the commands that run a cluster."""
    from polyexec_zmq._cli import COMMANDS

    return COMMANDS


_OPTIONS = (
    "address",
    "connect_timeout",
    "connection_file",
    "insecure",
    "reconnect_timeout",
    "resources",
    "ship",
)
