"""Each test has a cluster of its own; of processes here, or on several hosts of a network."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from cluster.commands import Commands, Peer
from cluster.company import Company
from cluster.hosts import Net, why_not
from polyexec_zmq._keys import read_connection_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

collect_ignore_glob = ["test_*"] if sys.platform == "win32" else []


@pytest.fixture(scope="session")
def obstacle() -> str | None:
    """Return why a machine is not taken for several hosts, None if it is."""
    if "POLYEXEC_HOSTS" not in os.environ:
        return "takes minutes; `tox run -e cluster` runs it"
    return why_not()


@pytest.fixture
def company(obstacle: str | None, tmp_path: Path) -> Iterator[Company]:
    """Return a cluster without members, on the hosts `head`, `a`, `b`, `c` and `client`."""
    if obstacle is not None:
        pytest.skip(obstacle)
    with Net(["head", "a", "b", "c", "client"]) as net:
        company = Company(net, tmp_path)
        yield company
        company.close()


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """Return what starts commands, all of which end with the test."""
    tmp_path.chmod(0o700)
    commands = Commands(tmp_path)
    yield commands
    commands.end()


@pytest.fixture
def peer() -> Iterator[Callable[[Path], Peer]]:
    """Return what connects with the keys of a connection file, and then says what it likes."""
    made: list[Peer] = []

    def connect(file: Path) -> Peer:
        connection = read_connection_file(file)
        made.append(Peer(connection.address, connection.credentials))
        return made[-1]

    yield connect
    for each in made:
        each.close()
