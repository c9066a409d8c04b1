"""What the commands of a cluster have in common: which one is meant, and errors in one line."""

from __future__ import annotations

import signal
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from polyexec import ClusterError
from polyexec_zmq._environment import CONNECT_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyexec_zmq._keys import Credentials

#: What ends a command that goes on running.
ENDING: Final = (signal.SIGTERM, signal.SIGINT)

F = TypeVar("F", bound="Callable[..., Any]")


def which_cluster(command: F) -> F:
    """Add the options that say which cluster is meant."""
    for option in (
        click.option(
            "--connect-timeout",
            type=click.FloatRange(min=0.1),
            default=CONNECT_TIMEOUT,
            show_default=True,
            help="Give up after so many seconds without a head.",
        ),
        click.option(
            "--insecure", is_flag=True, help="Join at an address of TCP without keys: for tests."
        ),
        click.option(
            "--connection-file",
            type=click.Path(path_type=Path),
            help="The file of address and keys; POLYEXEC_ZMQ_CONNECTION_FILE if not given.",
        ),
    ):
        command = option(command)
    return command


def where_is(
    address: str | None, connection_file: Path | None, *, insecure: bool
) -> tuple[str, Credentials | None]:
    """Return the address and the keys that the options, or else the environment, name."""
    from polyexec_zmq._joining import where

    options = {"address": address, "connection_file": connection_file, "insecure": insecure}
    try:
        found, credentials = where(options)
    except ValueError as error:
        raise ClusterError(str(error).replace("connection_file=", "--connection-file")) from error
    if found is None:
        raise ClusterError(
            "no cluster is named; pass --connection-file, the file that `polyexec head` has "
            "written, or set POLYEXEC_ZMQ_CONNECTION_FILE"
        )
    return found, credentials


def one_line_errors(command: F) -> F:
    """Have what fails end the command with exit code 1, and one line."""

    @wraps(command)
    def guarded(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except ClusterError as error:
            raise click.ClickException(str(error)) from error

    return guarded  # type: ignore[return-value]  # it takes and returns the same
