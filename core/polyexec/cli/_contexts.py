"""`polyexec contexts`: what is installed, and what is wrong with it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

import polyexec
from polyexec import PolyexecError, _registry
from polyexec.capabilities import MEANINGS
from polyexec.cli._messages import complain, describe, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polyexec._registry import BackendInfo

WIDE = 10_000  # columns: no line is broken where a program may read it


@dataclass(frozen=True)
class ContextRow:
    """One claim to a context's name; *reason* says why it is blocked or broken."""

    name: str
    distribution: str
    version: str
    default: bool
    status: str
    capabilities: tuple[str, ...] = ()
    reason: str | None = None


@click.command("contexts", short_help="List the installed contexts.")
@click.option("--json", "as_json", is_flag=True, help="Write an array of objects.")
def contexts_command(*, as_json: bool) -> None:
    """List the installed contexts, where they come from and what they can do.

    Those that are broken or blocked are listed with the reason.
    """
    default = _default_name()
    rows = [_row(info, default) for info in _registry.current().backends()]
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        click.echo(_table(rows))


def _default_name() -> str | None:
    try:
        return polyexec.get_start_method()
    except PolyexecError as error:  # no reason not to list what could be chosen instead
        complain(f"warning: {one_line(str(error))}")
        return None


def _row(info: BackendInfo, default: str | None) -> ContextRow:
    status, capabilities, reason = _examine(info)
    return ContextRow(
        info.name,
        info.distribution,
        info.version,
        default=info.name == default,
        status=status,
        capabilities=capabilities,
        reason=reason,
    )


def _examine(info: BackendInfo) -> tuple[str, tuple[str, ...], str | None]:
    """Return the status, the capabilities, and the reason if there are none."""
    if info.blocked:
        return "blocked", (), "blocked by POLYEXEC_BLOCK"
    try:
        with polyexec.get_context(info.name) as context:
            return "usable", tuple(sorted(context.capabilities)), None
    except PolyexecError as error:
        return "broken", (), one_line(str(error))
    except Exception as error:  # noqa: BLE001 - the border where backends are loaded
        return "broken", (), describe(error)


def _table(rows: list[ContextRow]) -> str:
    """Return a table for people, with the meanings of the capabilities that occur in it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("CONTEXT", "FROM", "VERSION", "CAPABILITIES", box=None, pad_edge=False)
    for row in rows:
        name = f"{row.name} (default)" if row.default else row.name
        able = f"{row.status}: {row.reason}" if row.reason else ", ".join(row.capabilities)
        table.add_row(*map(Text, (name, row.distribution, row.version, able)))
    meanings = Table(box=None, pad_edge=False, show_header=False)
    for capability in sorted({name for row in rows for name in row.capabilities}):
        meanings.add_row(Text(capability), Text(MEANINGS.get(capability, "")))
    console = Console(width=None if sys.stdout and sys.stdout.isatty() else WIDE, no_color=True)
    with console.capture() as captured:
        console.print(table, "", meanings, sep="\n")
    return _without_trailing_blanks(captured.get().splitlines())


def _without_trailing_blanks(lines: Iterable[str]) -> str:
    return "\n".join(line.rstrip() for line in lines).rstrip()
