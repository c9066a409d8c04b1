"""`polyexec progress`: whether progress is shown, and how to switch it."""

from __future__ import annotations

import click

from polyexec_progress._switch import sentence


@click.command("progress", short_help="Say whether programs show their progress.")
def progress_command() -> None:
    """Say whether programs started like this one show their progress.

    POLYEXEC_PROGRESS=1 switches it on; a program shows it where standard error is a terminal.
    """
    click.echo(sentence())
