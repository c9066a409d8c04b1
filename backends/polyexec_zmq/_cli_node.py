"""`polyexec node`: the workers of this machine, for a cluster."""

from __future__ import annotations

import itertools
import logging
import os
import queue
import signal
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from polyexec.signals import signalled
from polyexec_zmq._cli_common import ENDING, one_line_errors, where_is, which_cluster
from polyexec_zmq._environment import ADDRESS, CONNECTION_FILE, INSECURE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polyexec_zmq._node import Node

logger = logging.getLogger("polyexec.node")

_DRAIN: Final = "drain"
_END: Final = "end"


@click.command("node", short_help="Have this machine's workers join a cluster.")
@click.argument("address", required=False)
@click.option("--workers", type=click.IntRange(min=1), help="How many; one per CPU if not given.")
@click.option(
    "--context",
    "method",
    type=click.Choice(["forkserver", "spawn", "fork"]),
    default="forkserver",
    show_default=True,
    help="How workers are started.",
)
@click.option("--name", help="What the node is called; its host and process if not given.")
@click.option("--tag", "tags", metavar="NAME=NUMBER", multiple=True, help="What else it has.")
@which_cluster
@one_line_errors
def node_command(
    *,
    address: str | None,
    workers: int | None,
    method: str,
    name: str | None,
    tags: tuple[str, ...],
    connection_file: Path | None,
    insecure: bool,
    connect_timeout: float,
) -> None:
    """Have this machine's workers join the cluster at ADDRESS, or that of a connection file.

    The first SIGTERM has it finish what runs, and leave; the second, or SIGINT, ends it at once.
    """
    from polyexec.cpus import usable_cpus
    from polyexec_zmq._node import Node

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    found, credentials = where_is(address, connection_file, insecure=insecure)
    changes: queue.SimpleQueue[str] = queue.SimpleQueue()
    node = Node(
        found,
        credentials,
        cpus=workers or usable_cpus(),
        method=method,
        name=name or f"{socket.gethostname()}-{os.getpid()}",
        env=_for_workers(found, connection_file, keys=credentials is not None),
        resources=dict(map(_tag, tags)),
        connect_timeout=connect_timeout,
        tell=changes.put,
    )
    with _heeded(changes):
        node.start()
        try:
            _attend(node, found, changes)
        finally:
            node.close()
    if node.failure is not None:
        raise node.failure


@contextmanager
def _heeded(changes: queue.SimpleQueue[str]) -> Iterator[None]:
    """Have put among *changes* what signals ask for."""
    with signalled(*ENDING) as came:
        thread = threading.Thread(
            target=_heed, args=(came.dup(), changes), name="polyexec-signals", daemon=True
        )
        thread.start()
        yield


def _heed(came: socket.socket, changes: queue.SimpleQueue[str]) -> None:
    with came:
        for count in itertools.count():
            number = came.recv(1)
            if not number:
                return
            changes.put(_END if count or number[0] == signal.SIGINT else _DRAIN)


def _attend(node: Node, address: str, changes: queue.SimpleQueue[str]) -> None:
    """Tell what becomes of the node, until it has ended or is to."""
    while (change := changes.get()) not in ("ended", _END):
        if change == _DRAIN:
            logger.info("%s leaves once what it runs has ended", node.name)
            node.drain()
        elif change == "cut":
            logger.warning("%s has lost its connection to the head, and tries again", node.name)
        else:
            click.echo(f"joined {address} as {node.name}, with {node.cpus} workers")


def _tag(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not number.isdecimal():
        raise click.UsageError(f"--tag {text!r} is not NAME=NUMBER, as in gpu=1")
    return name, int(number)


def _for_workers(address: str, connection_file: Path | None, *, keys: bool) -> dict[str, str]:
    """Return what has `get_context("zmq")` in a worker join the same cluster."""
    if not keys:
        return {ADDRESS: address, CONNECTION_FILE: "", INSECURE: "1"}
    file = connection_file or Path(os.environ[CONNECTION_FILE])
    return {ADDRESS: address, CONNECTION_FILE: str(file.resolve())}
