"""`polyexec map`: a function over arguments or lines, on any context."""

from __future__ import annotations

from typing import Any

import click

from polyexec.cli._options import seconds, whole_number
from polyexec.cli._session import MapOptions, run_map


@click.command("map", short_help="Apply a function to arguments or lines.")
@click.option("--context", metavar="NAME", help="Where to run; see `polyexec contexts`.")
@click.option(
    "--workers", metavar="N", callback=whole_number(1), help="How many items to run at a time."
)
@click.option("--unordered", is_flag=True, help="Write results as they come, not in order.")
@click.option(
    "--timeout", metavar="SECONDS", callback=seconds, help="Stop an item that runs longer."
)
@click.option(
    "--retries",
    metavar="N",
    default="0",
    callback=whole_number(0),
    help="Run a failing item again, N times.",
)
@click.option(
    "--chunksize",
    metavar="N",
    callback=whole_number(1),
    help="How many items make one task, which is lost as a whole; adapted by default.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Write an object with item and result per line."
)
@click.option("--traceback", "tracebacks", is_flag=True, help="Show where failing items failed.")
@click.argument("target", metavar="MODULE:FUNCTION")
@click.argument("items", metavar="[ITEM]...", nargs=-1)
@click.pass_context
def map_command(ctx: click.Context, /, **arguments: Any) -> None:
    """Apply MODULE:FUNCTION to each ITEM, or to each line of standard input.

    Modules of the current directory are found. Each result is a line of standard output: its str(),
    an empty line for None, or an object with --json. An item that fails is reported on standard
    error (with --json in its place among the results, too), and the others go on.

    The exit code is 0, 1 if an item has failed, 2 for wrong usage, and 130 after Ctrl-C. Like a
    filter, the command ends quietly when the reader of its results does.
    """
    ctx.exit(run_map(MapOptions(**arguments)))
