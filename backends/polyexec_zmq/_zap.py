"""What ZeroMQ asks before it hands on anything that came by a connection (RFC 27, ZAP).

Whoever binds `ADDRESS` in a context is asked for each connection of its sockets that are guarded.
What nobody answers, nobody passes: the domain is enforced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import zmq
from zmq.utils import z85

if TYPE_CHECKING:
    from collections.abc import Sequence

ADDRESS: Final = "inproc://zeromq.zap.01"
_VERSION: Final = b"1.0"
_DOMAIN: Final = b"polyexec"
_MECHANISM: Final = b"CURVE"
#: How many frames a question has, after whom to answer; the last is the key.
_FRAMES: Final = 8
_KEY_BYTES: Final = 32


def guard(sock: zmq.Socket[Any], public: bytes, secret: bytes) -> None:
    """Have *sock*, with these keys, ask for each that connects; before it has any connection."""
    sock.curve_server = 1
    sock.curve_publickey = public
    sock.curve_secretkey = secret
    sock.zap_domain = _DOMAIN
    sock.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def key_of(question: Sequence[bytes]) -> str | None:
    """Return the key that is asked about, None if this is no such question."""
    if len(question) != _FRAMES + 1:
        return None
    version, domain, mechanism, key = question[2], question[4], question[7], question[8]
    if (version, domain, mechanism) != (_VERSION, _DOMAIN, _MECHANISM) or len(key) != _KEY_BYTES:
        return None
    return z85.encode(key).decode()


def answer(question: Sequence[bytes], key: str | None) -> list[bytes]:
    """Return the answer that lets in who has *key*, which is his User-Id; None: that does not."""
    if key is None:
        reply = (b"400", b"this key is not on the list", b"", b"")
    else:
        reply = (b"200", b"OK", key.encode(), b"")
    who, empty, version, number = (*question, b"", b"", b"", b"")[:4]
    return [who, empty, version or _VERSION, number, *reply]
