"""The command `polyexec progress`."""

from __future__ import annotations

import click


@click.command()
def progress() -> None:
    """Say whether progress bars are drawn, and how to switch them."""
    from polyexec_progress import SWITCH, is_on

    state = "on" if is_on() else "off"
    click.echo(f"progress bars are {state}; {SWITCH}=1 switches them on, {SWITCH}=0 off")
    click.echo("they are drawn on standard error, where that is a terminal")
