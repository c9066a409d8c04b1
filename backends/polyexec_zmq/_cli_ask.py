"""`polyexec status`, `drain` and `stop`: what is asked of a head that runs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from polyexec import ClusterError
from polyexec_zmq._cli_common import one_line_errors, where_is, which_cluster

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rich.table import Table

_WIDE = 10_000  # columns: no line is broken where a program may read it


@click.command("status", short_help="Tell what a cluster has, and does.")
@click.argument("address", required=False)
@click.option("--json", "as_json", is_flag=True, help="Write an object.")
@which_cluster
@one_line_errors
def status_command(*, as_json: bool, **cluster: Any) -> None:
    """Tell which nodes and programs a cluster has, and what they do."""
    status = _ask({"what": "status"}, **cluster)
    click.echo(json.dumps(status, indent=2) if as_json else _table(status))


@click.command("drain", short_help="Have a node leave once it has finished.")
@click.argument("node")
@click.argument("address", required=False)
@which_cluster
@one_line_errors
def drain_command(node: str, **cluster: Any) -> None:
    """Have NODE take no more tasks, finish those that run, and leave."""
    _ask({"what": "drain", "node": node}, **cluster)
    click.echo(f"{node} leaves once what it runs has ended")


@click.command("stop", short_help="End a cluster's head.")
@click.argument("address", required=False)
@which_cluster
@one_line_errors
def stop_command(**cluster: Any) -> None:
    """End the head; nodes wait for the next one."""
    _ask({"what": "stop"}, **cluster)
    click.echo("the head stops")


def _ask(
    question: dict[str, Any],
    *,
    address: str | None,
    connection_file: Path | None,
    insecure: bool,
    connect_timeout: float,
) -> Any:
    from polyexec_zmq._hub import Hub
    from polyexec_zmq._zmqconnection import ZmqConnection

    found, credentials = where_is(address, connection_file, insecure=insecure)
    connection = ZmqConnection(found, credentials)
    hub = Hub(found, connection, connect_timeout, connect_timeout=connect_timeout)
    try:
        hub.connect()
        answer = hub.ask(question)
    finally:
        hub.close()
    if "error" in answer:
        raise ClusterError(answer["error"])
    return answer


def _table(status: dict[str, Any]) -> str:
    """Return what people read."""
    from rich.console import Console

    nodes, executors = status["nodes"], status["executors"]
    counts = (
        f"nodes: {len(nodes)}, CPUs: {sum(node['cpus'] for node in nodes)}, "
        f"programs: {len(status['clients'])}; tasks at nodes: "
        f"{sum(each['running'] for each in executors)}, waiting: "
        f"{sum(each['queued'] for each in executors)}, done per second: {status['per_second']:g}"
    )
    parts: list[Any] = [counts]
    if nodes:
        parts += ["", _nodes(nodes)]
    if executors:
        parts += ["", _executors(executors)]
    if status["lost"]:
        parts += ["", _lost(status["lost"])]
    channels = status["channels"]
    if channels is not None:
        megabytes = channels["bytes"] / 1e6
        parts += ["", f"channels: {channels['open']}, MB through them: {megabytes:,.1f}"]
    if status["refused"] or status["turned_away"] or status["malformed"]:
        turned_away = f"connections turned away: {status['turned_away']}"
        malformed = f"malformed letters: {status['malformed']}"
        parts += ["", f"members refused: {status['refused']}, {turned_away}, {malformed}"]
    console = Console(width=None if sys.stdout and sys.stdout.isatty() else _WIDE, no_color=True)
    with console.capture() as captured:
        console.print(*parts, sep="\n", markup=False, highlight=False)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).rstrip()


def _nodes(nodes: list[dict[str, Any]]) -> Table:
    rows = (
        (
            node["name"],
            node["host"],
            node["cpus"],
            node["tasks"],
            ", ".join(f"{name}={value:g}" for name, value in node["resources"].items()),
            f"{node['seconds']:.0f} s",
            "drains" if node["draining"] else f"heard {node['silent']:.0f} s ago",
        )
        for node in nodes
    )
    return _columns("NODE", "HOST", "CPUS", "TASKS", "TAGS", "SINCE", "STATE", rows=rows)


def _executors(executors: list[dict[str, Any]]) -> Table:
    names = ("workers", "queued", "running", "done", "lost")
    rows = ((f"{each['client']:x}/{each['executor']}", *map(each.get, names)) for each in executors)
    return _columns("EXECUTOR", *(name.upper() for name in names), rows=rows)


def _lost(losses: list[dict[str, Any]]) -> Table:
    rows = ((each["node"], each["host"], each["why"]) for each in losses)
    return _columns("GONE", "HOST", "WHY", rows=rows)


def _columns(*titles: str, rows: Iterable[tuple[Any, ...]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table
