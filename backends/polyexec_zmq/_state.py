"""What a head keeps in a folder: its keys, the public keys of those that may join, its nodes.

    server.json      the head's pair of keys
    members/NAME     the public key of a member, a file for each; removing it revokes the key
    connection.json  the connection file of the first member, who is called `owner`
    address          where members find the head
    roster, jobs     what the next head is to know (see `_journal`)
    lock             held by the head that uses the folder

Nobody else may look into it. The secret keys of members other than `owner` are not in it: they
are in the connection files only that `polyexec keys add` writes.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import zmq

from polyexec import ClusterError
from polyexec_zmq._keys import (
    Connection,
    Credentials,
    connection_json,
    is_key,
    is_private,
    write_private,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The member whose keys come with the head.
OWNER: Final = "owner"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class KeyPair(NamedTuple):
    """A public key and its secret one, as ZeroMQ writes them (Z85)."""

    public: str
    secret: str


def new_key_pair() -> KeyPair:
    """Return a new pair of keys."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def default_folder(name: str = "head") -> Path:
    """Return where the head of that name keeps its state, if not told."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "polyexec" / name


class StateFolder:
    """A head's folder; raises ClusterError if it is not private, or not readable.

    It is made if *create*; otherwise it has to be there.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path: Path = path
        self.members: Path = path / "members"
        self.connection_file: Path = path / "connection.json"
        self._server = path / "server.json"
        self._address = path / "address"
        if create:
            self._create()
        if not self.members.is_dir():
            raise ClusterError(
                f"no head has its state in {os.fspath(path)!r}; start one with `polyexec head`, "
                "or pass its folder as --state"
            )
        if not is_private(path):
            raise ClusterError(
                f"others may look into {os.fspath(path)!r}, or it is not yours; `chmod 700` it, "
                "or pass another folder as --state"
            )

    def _create(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.members.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ClusterError(
                f"the folder {os.fspath(self.path)!r} can't be made: {error.strerror}; pass "
                "another one as --state"
            ) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only head that uses the folder."""
        with (self.path / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ClusterError(
                    f"another head uses {os.fspath(self.path)!r}; end it, or pass another folder "
                    "as --state"
                ) from error
            yield

    # -- the head's own ----------------------------------------------------------------------------

    def server_keys(self) -> KeyPair:
        """Return the head's keys, which are made on first use."""
        if not self._server.exists():
            write_private(self._server, json.dumps(new_key_pair()._asdict()))
        try:
            return KeyPair(**json.loads(self._server.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ClusterError(
                f"{os.fspath(self._server)!r} holds no keys; restore it, or remove it and have "
                "all members' keys made anew"
            ) from error

    @property
    def address(self) -> str:
        """Where members find the head, as the last one has noted it."""
        try:
            return self._address.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise ClusterError(
                f"no head has run with the state {os.fspath(self.path)!r} yet; start it first"
            ) from error

    def note_address(self, address: str) -> None:
        """Write down where members find the head."""
        write_private(self._address, address)

    def owner(self) -> Connection:
        """Return how to connect as `owner`, whose key is made on first use, or if it was revoked.

        The connection file is there afterwards.
        """
        keys = self._owner_keys()
        if keys is None:
            keys = new_key_pair()
            self._enlist(OWNER, keys.public)
        connection = self._connection(OWNER, keys)
        write_private(self.connection_file, connection_json(connection))
        return connection

    def _owner_keys(self) -> KeyPair | None:
        listed = self.public_keys().get(OWNER)
        with suppress(OSError, ValueError, KeyError, TypeError):  # as if there were none
            found = json.loads(self.connection_file.read_text(encoding="utf-8"))
            if found["public_key"] == listed:
                return KeyPair(found["public_key"], found["secret_key"])
        return None

    # -- members -----------------------------------------------------------------------------------

    def public_keys(self) -> dict[str, str]:
        """Return the keys of those that may join, by name."""
        return read_public_keys(self.members)

    def add(self, name: str) -> Connection:
        """Let in a new member; return how it connects, of which nobody else knows."""
        if not is_name(name):
            raise ClusterError(
                f"{name!r} can't name a key; use up to 64 letters, digits and the signs . _ - @"
            )
        if (self.members / name).exists():
            raise ClusterError(f"there is a key {name!r}; revoke it first, or use another name")
        keys = new_key_pair()
        connection = self._connection(name, keys)
        self._enlist(name, keys.public)
        return connection

    def revoke(self, name: str) -> None:
        """Let a member in no more."""
        known = sorted(self.public_keys())
        if name not in known:
            raise ClusterError(f"there is no key {name!r}; there are: {', '.join(known) or 'none'}")
        (self.members / name).unlink()

    def _enlist(self, name: str, public: str) -> None:
        write_private(self.members / name, public + "\n")

    def _connection(self, name: str, keys: KeyPair) -> Connection:
        return Connection(self.address, Credentials(self.server_keys().public, *keys), name)


def is_name(name: str) -> bool:
    """Return whether *name* can name a key."""
    return _NAME.fullmatch(name) is not None


def read_public_keys(folder: Path) -> dict[str, str]:
    """Return the public keys in the files of *folder*, by name; what is no key lets in nobody."""
    found: dict[str, str] = {}
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # it has been removed just now
            if is_name(file.name) and file.is_file():
                key = file.read_text(encoding="ascii", errors="replace").strip()
                if is_key(key):
                    found[file.name] = key
    return found
