"""How fast this machine's ZeroMQ encrypts: on some it is twenty times slower than on others."""

from __future__ import annotations

import time
from typing import Any, Final

import zmq

#: How many frames are sent, of how many bytes; below how many bytes a second it is worth a word.
_FRAMES: Final = 8
_SIZE: Final = 1 << 20
SLOW: Final = 200e6
#: How many milliseconds a frame may take.
_PATIENCE: Final = 5000


def encrypted_rate() -> float:
    """Return how many bytes a second one processor encrypts, or decrypts; 0 if none can be sent.

    Its time is counted, not that of the clock, for the machine may be busy.
    """
    context: zmq.Context[Any] = zmq.Context()
    try:
        with context.socket(zmq.PULL) as receiver, context.socket(zmq.PUSH) as sender:
            return _measure(receiver, sender)
    except zmq.ZMQError:  # no loopback, or no encryption: whoever needs them says so
        return 0.0
    finally:
        context.destroy(linger=0)


def _measure(receiver: zmq.Socket[bytes], sender: zmq.Socket[bytes]) -> float:
    public, secret = zmq.curve_keypair()
    own_public, own_secret = zmq.curve_keypair()
    receiver.curve_server = 1
    receiver.curve_secretkey = secret
    receiver.rcvtimeo = _PATIENCE
    sender.curve_serverkey, sender.curve_publickey = public, own_public
    sender.curve_secretkey = own_secret
    sender.sndtimeo = _PATIENCE
    port = receiver.bind_to_random_port("tcp://127.0.0.1")
    sender.connect(f"tcp://127.0.0.1:{port}")
    frame = bytes(_SIZE)
    sender.send(b"")
    receiver.recv()  # the connection is there now
    began = time.process_time()
    for _ in range(_FRAMES):
        sender.send(frame, copy=False)
    for _ in range(_FRAMES):
        receiver.recv(copy=False)
    return 2 * _FRAMES * _SIZE / (time.process_time() - began)
