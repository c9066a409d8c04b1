"""`polyexec keys`: who may join; works on the head's folder, whether a head runs or not."""

from __future__ import annotations

from pathlib import Path

import click

from polyexec_zmq._cli_common import one_line_errors

_state = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder in which the head keeps its keys.",
)


@click.group("keys", short_help="Say who may join a cluster.")
def keys_group() -> None:
    """Say who may join a cluster, on the machine and as the user of its head."""


@keys_group.command("add", short_help="Let in a new member.")
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the connection file; NAME.json if not given.",
)
@_state
@one_line_errors
def add_command(name: str, out: Path | None, state: Path | None) -> None:
    """Make a key called NAME, and write the connection file of who is to have it.

    There is no other copy of it. Whoever has it can run code on the cluster.
    """
    from polyexec_zmq._keys import connection_json, write_private

    folder = _folder(state)
    target = Path(f"{name}.json") if out is None else out
    if target.exists():
        raise click.ClickException(f"there is a file {str(target)!r} already; pass another --out")
    connection = folder.add(name)
    try:
        write_private(target, connection_json(connection))
    except OSError as error:
        folder.revoke(name)
        raise click.ClickException(
            f"{str(target)!r} can't be written: {error.strerror}; pass another --out"
        ) from error
    click.echo(f"wrote {target}; join with: polyexec node --connection-file {target}")


@keys_group.command("list", short_help="List who may join.")
@_state
@one_line_errors
def list_command(state: Path | None) -> None:
    """List the names of all keys, each with the public part of it."""
    for name, public in sorted(_folder(state).public_keys().items()):
        click.echo(f"{name}\t{public}")


@keys_group.command("revoke", short_help="Let a member in no more.")
@click.argument("name")
@_state
@one_line_errors
def revoke_command(name: str, state: Path | None) -> None:
    """Accept the key called NAME no more; a head that runs parts with its member within seconds."""
    _folder(state).revoke(name)
    click.echo(f"revoked {name}")


def _folder(path: Path | None):  # type: ignore[no-untyped-def]  # noqa: ANN202 - imported late
    from polyexec_zmq._state import StateFolder, default_folder

    return StateFolder(default_folder() if path is None else path)
