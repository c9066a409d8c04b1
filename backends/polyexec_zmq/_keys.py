"""Keys and connection files."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from polyexec import ClusterError

if TYPE_CHECKING:
    import zmq

_MUST_BE = ("address", "server_key", "public_key", "secret_key")


class Credentials(NamedTuple):
    """A member's keys, and the public one of its head, as ZeroMQ writes them (Z85)."""

    server_key: str
    public_key: str
    secret_key: str

    def be_client(self, sock: zmq.Socket[Any]) -> None:
        """Have *sock* prove that it has the keys, and talk to nobody but the head."""
        sock.curve_serverkey = self.server_key.encode()
        sock.curve_publickey = self.public_key.encode()
        sock.curve_secretkey = self.secret_key.encode()


class Connection(NamedTuple):
    """What a connection file holds."""

    address: str
    credentials: Credentials
    name: str


def read_connection_file(path: str | os.PathLike[str]) -> Connection:
    """Return what is in a connection file; raises ClusterError if it can't be used."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            content = file.read()
    except OSError as error:
        raise ClusterError(
            f"the connection file {os.fspath(path)!r} can't be read: {error.strerror}; pass the "
            "one that `polyexec head` or `polyexec keys add` has written"
        ) from error
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ClusterError(
            f"others can read the connection file {os.fspath(path)!r}, and so run code on the "
            "cluster; `chmod 600` it, and have its key replaced if somebody may have done so"
        )
    try:
        found = json.loads(content)
        address, *keys = (str(found[name]) for name in _MUST_BE)
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{os.fspath(path)!r} is no connection file: {error!r}; pass the one that "
            "`polyexec head` or `polyexec keys add` has written"
        ) from error
    return Connection(address, Credentials(*keys), str(found.get("name", "")))


def write_private(path: Path, content: str) -> None:
    """Write a file that nobody else may read, all of it or nothing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(content)
    new.replace(path)
