"""`polyexec head`: the head of a cluster, until it is told to end."""

from __future__ import annotations

import logging
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from polyexec import ClusterError
from polyexec.signals import signalled
from polyexec_zmq._cli_common import ENDING, one_line_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polyexec_zmq._loop import HeadLoop
    from polyexec_zmq._relay import Relay

_ANY = "tcp://0.0.0.0:5555"
_EVERYWHERE = ("*", "0.0.0.0", "[::]")  # noqa: S104 - names what is recognised


@click.command("head", short_help="Run the head of a cluster.")
@click.option("--bind", default=_ANY, show_default=True, help="Where to listen.")
@click.option(
    "--bulk",
    metavar="ADDRESS",
    help="Where to listen for large data as well, as in tcp://0.0.0.0:5556: then it is encrypted "
    "from end to end, and costs the head little.",
)
@click.option(
    "--advertise",
    metavar="HOST",
    help="The name by which members reach this machine; its host name if --bind has none.",
)
@click.option(
    "--connection-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the first member's address and keys; in --state if not given.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder for keys and the list of nodes; ~/.local/state/polyexec/head if not given.",
)
@click.option(
    "--lease",
    type=click.FloatRange(min=0.5),
    default=20.0,
    show_default=True,
    help="Give up a member that is silent for so many seconds.",
)
@click.option(
    "--package",
    "packages",
    metavar="NAME",
    multiple=True,
    help="A distribution whose version all members must share; may be repeated.",
)
@click.option("--insecure", is_flag=True, help="Let anybody join at an address of TCP: for tests.")
@one_line_errors
def head_command(**options: Any) -> None:
    """Run the head of a cluster, which nodes and programs join.

    SIGTERM and SIGINT end it. If it is started again with the same --state, its members come back.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    if options["insecure"] or options["bind"].startswith("ipc:"):
        _without_keys(**options)
    else:
        _with_keys(**options)


def _with_keys(
    *,
    bind: str,
    bulk: str | None,
    advertise: str | None,
    connection_file: Path | None,
    state: Path | None,
    lease: float,
    packages: tuple[str, ...],
    insecure: bool,  # noqa: ARG001 - it is not
) -> None:
    from polyexec_zmq._doorkeeper import Doorkeeper
    from polyexec_zmq._journal import Journal
    from polyexec_zmq._keys import connection_json, write_private
    from polyexec_zmq._state import StateFolder, default_folder

    folder = StateFolder(default_folder() if state is None else state, create=True)
    with folder.lock(), signalled(*ENDING) as ending:
        doorkeeper = Doorkeeper(folder.members, folder.server_keys())
        with (
            _relay(bulk) as relay,
            _bound(
                bind,
                doorkeeper=doorkeeper,
                journal=Journal(folder.path),
                lease=lease,
                packages=packages,
                relay=relay,
            ) as loop,
        ):
            folder.note_address(_reachable(loop.address, advertise))
            connection = folder.owner()
            file = folder.connection_file
            if connection_file is not None:
                file = connection_file
                write_private(file, connection_json(connection))
            _warn_if_slow()
            _serve(loop, ending, f"--connection-file {file.resolve()}")


@contextmanager
def _relay(bulk: str | None) -> Iterator[Relay | None]:
    """Yield the relay at *bulk*, None if there is to be none."""
    if bulk is None:
        yield None
        return
    from polyexec_zmq._relay import Relay

    relay = Relay(bulk)
    try:
        yield relay
    finally:
        relay.close()


def _warn_if_slow() -> None:
    """Say so if large data will take long here."""
    from polyexec_zmq._ciphertest import SLOW, encrypted_rate

    rate = encrypted_rate()
    if rate < SLOW:
        logging.getLogger("polyexec.head").warning(
            "ZeroMQ encrypts %.0f MB a second here, which is slow: large data will take long; "
            "another build of libsodium may be faster",
            rate / 1e6,
        )


def _without_keys(
    *,
    bind: str,
    bulk: str | None,
    connection_file: Path | None,
    state: Path | None,
    insecure: bool,
    **options: Any,
) -> None:
    if connection_file is not None or state is not None:
        raise ClusterError(
            "a head without keys has neither --connection-file nor --state; its members are "
            "given its address"
        )
    if bulk is not None:
        raise ClusterError(
            "a head without keys has no --bulk, which spares it encryption: it has none"
        )
    advertise = options.pop("advertise")
    with signalled(*ENDING) as ending, _bound(bind, insecure=insecure, **options) as loop:
        address = _reachable(loop.address, advertise)
        _serve(loop, ending, address if address.startswith("ipc:") else f"{address} --insecure")


@contextmanager
def _bound(bind: str, **options: Any) -> Iterator[HeadLoop]:
    import zmq

    from polyexec_zmq._loop import HeadLoop

    context: zmq.Context[Any] = zmq.Context()
    try:
        loop = HeadLoop(bind, context=context, **options)
    except zmq.ZMQError as error:
        context.destroy(linger=0)
        raise ClusterError(
            f"nobody can listen at {bind}: {error.strerror}; pass another address as --bind"
        ) from error
    try:
        yield loop
    finally:
        loop.close()
        context.term()


def _serve(loop: HeadLoop, ending: socket.socket, how: str) -> None:
    loop.watch(ending.fileno(), lambda: False)
    click.echo(f"listening at {loop.address}; join with: polyexec node {how}")
    loop.run()


def _reachable(address: str, advertise: str | None) -> str:
    """Return the address that members are given."""
    if not address.startswith("tcp://"):
        return address
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    if advertise is None:
        advertise = socket.gethostname() if host in _EVERYWHERE else host
    return f"tcp://{advertise}:{port}"
