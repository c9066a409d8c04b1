"""The commands that run a cluster; needs click, which comes with the extra `cli`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polyexec_zmq._cli_ask import drain_command, status_command, stop_command
from polyexec_zmq._cli_head import head_command
from polyexec_zmq._cli_keys import keys_group
from polyexec_zmq._cli_node import node_command

if TYPE_CHECKING:
    import click

COMMANDS: Final[tuple[click.Command, ...]] = (
    head_command,
    node_command,
    status_command,
    drain_command,
    stop_command,
    keys_group,
)
