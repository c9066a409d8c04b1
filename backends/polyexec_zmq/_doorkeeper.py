"""Who may talk to a head: CURVE keys, and the list of those that are let in.

ZeroMQ asks for each connection (see `_zap`):

    a member                libzmq, in the head's process          Doorkeeper, in the head's loop
    its key, proven    ->   has somebody this public key?     ->   is it on the list now?
                       <-   connected, or cut off             <-   200 with a User-Id, or 400
    anything else      ->   cut off                           ->   counted (see `_strangers`)

A connection that is open outlives its key's removal from the list, for ZeroMQ can't end it; so the
list is asked again as somebody joins.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

import zmq

from polyexec_zmq import _zap
from polyexec_zmq._state import read_public_keys
from polyexec_zmq._strangers import Strangers
from polyexec_zmq._tally import Tally

if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from pathlib import Path

    from polyexec_zmq._state import KeyPair

logger = logging.getLogger("polyexec.head")

#: How many questions are answered before something else is seen to.
_SOME: Final = 64
#: How many seconds pass between looks at the list.
_PAUSE: Final = 1.0
#: For how long, in nanoseconds, a second change to a folder may bear the time of the first.
_SAME_TIME: Final = 2_000_000_000


class Doorkeeper:
    """Lets in those whose public keys are in files of *folder*, to a head with these *keys*.

    A key is known by the name of its file. The User-Id of a connection is the key itself, for a
    name may have another key later.
    """

    def __init__(self, folder: Path, keys: KeyPair) -> None:
        self._folder = folder
        self._keys = keys
        self._changed_at = self._read_at = -1
        self._names: dict[str, str] = {}
        self._removed: set[str] = set()
        self._looks_at = 0.0
        self._unlisted = Tally(logger)
        self._unproven = Tally(logger)
        self._read()

    def guard(self, sock: zmq.Socket[Any], context: zmq.Context[Any]) -> None:
        """Have nobody connect to *sock*, which is not bound yet, but who is let in."""
        self._sock: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self._sock.linger = 0
        self._sock.bind(_zap.ADDRESS)
        _zap.guard(sock, self._keys.public.encode(), self._keys.secret.encode())
        self._strangers = Strangers(sock, context)

    def register(self, poller: zmq.Poller) -> None:
        """Have *poller* wait for what there is to see to."""
        for each in (self._sock, self._strangers.sock):
            poller.register(each, zmq.POLLIN)

    def see_to(self, events: Container[Any]) -> None:
        """See to what has come: a poller's *events*."""
        if self._sock in events:
            self._answer_some()
        if self._strangers.sock in events and (count := self._strangers.read()):
            self._unproven.add(
                "refused a connection: it brought no proof of a key (%d such ones so far)",
                times=count,
            )

    def turned_away(self) -> int:
        """Return how many connections were refused."""
        return self._unlisted.count + self._unproven.count

    def _answer_some(self) -> None:
        for _ in range(_SOME):
            try:
                frames = self._sock.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._answer(frames)

    def _answer(self, frames: list[bytes]) -> None:
        key = _zap.key_of(frames)
        if key is None or self._name(key) is None:
            where = frames[5].decode("ascii", "replace") if len(frames) > 5 else "?"  # noqa: PLR2004 - its place
            self._unlisted.add(
                "refused a connection from %s: its key is not on the list (%d such ones so far)",
                where,
            )
            key = None
        self._sock.send_multipart(_zap.answer(frames, key))

    def name_of(self, frame: zmq.Frame) -> str | None:
        """Return the name of the key that the sender of *frame* has proven to have.

        None if it is not on the list, now.
        """
        try:
            key = frame.get("User-Id")
        except zmq.ZMQError:  # there is none: nobody has proven anything
            return None
        self._strangers.note_letter(frame)
        return self._name(str(key))

    def revoked(self) -> Iterable[str]:
        """Return the names of keys that are not let in any more; cheap, and called often."""
        now = time.monotonic()
        if now >= self._looks_at:
            self._looks_at = now + _PAUSE
            self._read()
        if not self._removed:
            return ()
        removed, self._removed = self._removed, set()
        return removed

    def close(self) -> None:
        """Close the sockets."""
        self._strangers.close()
        self._sock.close()

    def _name(self, key: str) -> str | None:
        self._read()
        return self._names.get(key)

    def _read(self) -> None:
        """Read the list, if it has changed; who can't be read is not let in."""
        try:
            changed_at = self._folder.stat().st_mtime_ns
            settled = self._read_at - self._changed_at > _SAME_TIME
            if changed_at == self._changed_at and settled:
                return
            self._read_at = time.time_ns()
            listed = read_public_keys(self._folder)
        except OSError as error:
            logger.warning("nobody is let in, for the keys can't be read: %s", error)
            changed_at, listed = -1, {}
        self._changed_at = changed_at
        names = {key: name for name, key in listed.items()}
        self._removed.update(name for key, name in self._names.items() if names.get(key) != name)
        self._names = names
