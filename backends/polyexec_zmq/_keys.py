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
_KEY_LENGTH = 40


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
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read()
    except OSError as error:
        raise ClusterError(
            f"the connection file {os.fspath(path)!r} can't be read: {error.strerror}; pass the "
            "one that `polyexec head` or `polyexec keys add` has written"
        ) from error
    if status.st_uid != os.getuid():
        raise ClusterError(
            f"the connection file {os.fspath(path)!r} is not yours, and who owns it could have you "
            "join a cluster of theirs; make a copy of your own if you trust it"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ClusterError(
            f"others can read the connection file {os.fspath(path)!r}, and so run code on the "
            "cluster; `chmod 600` it, and have its key replaced if somebody may have done so"
        )
    try:
        found = json.loads(content)
        address, *keys = (str(found[name]) for name in _MUST_BE)
        if not all(map(is_key, keys)):
            raise ValueError("what is in the place of a key is none")  # noqa: TRY301 - as the others
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{os.fspath(path)!r} is no connection file: {error!r}; pass the one that "
            "`polyexec head` or `polyexec keys add` has written"
        ) from error
    return Connection(address, Credentials(*keys), str(found.get("name", "")))


def is_key(text: str) -> bool:
    """Return whether *text* looks like a key: ZeroMQ refuses others without saying which."""
    return len(text) == _KEY_LENGTH and text.isascii() and text.isprintable()


def connection_json(connection: Connection) -> str:
    """Return what is to be in the connection file of *connection*."""
    content = {"address": connection.address, "name": connection.name}
    return json.dumps({**content, **connection.credentials._asdict()}, indent=1) + "\n"


def is_private(folder: Path) -> bool:
    """Return whether *folder* is ours, and nobody else may look into it."""
    status = folder.stat()
    return status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o077


def check_folder(address: str) -> None:
    """Raise ClusterError if others may enter the folder of the local socket at *address*.

    A local socket has no keys, so whoever comes in is a member.
    """
    path = Path(address.removeprefix("ipc://"))
    if not path.is_absolute():  # or it is a name that anybody on this machine may use, or any path
        raise ClusterError(f"{address!r} names no socket by its whole path, as in ipc:///run/me/x")
    try:
        private = is_private(path.parent)
    except OSError as error:
        raise ClusterError(
            f"the folder {str(path.parent)!r} of a local socket can't be used: {error.strerror}"
        ) from error
    if not private:
        raise ClusterError(
            f"others may enter the folder {str(path.parent)!r}, or it is not yours, and a local "
            "socket is guarded by that alone; `chmod 700` it, or use another"
        )


def write_private(path: Path, content: str) -> None:
    """Write a file that nobody else may read, all of it or nothing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)  # somebody else may have put it there, and may read it
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(content)
    new.replace(path)
