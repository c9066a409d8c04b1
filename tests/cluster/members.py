"""Heads and nodes for tests: `python members.py head|node JSON`, with what they are made of.

Here, and in `company.py`, is all that knows how members prove who they are.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any


def head(port: int, lease: float, state: str) -> None:
    """Be a head until told to stop."""
    from polyexec_zmq._journal import Journal
    from polyexec_zmq._loop import HeadLoop
    from polyexec_zmq._relay import Relay

    relay = Relay(f"tcp://0.0.0.0:{port + 1}")
    loop = HeadLoop(
        f"tcp://0.0.0.0:{port}",
        lease=lease,
        journal=Journal(Path(state)),
        insecure=True,
        relay=relay,
    )
    print("ready", flush=True)  # noqa: T201 - how a program tells
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    signal.signal(signal.SIGTERM, lambda *_: None)
    loop.watch(read, lambda: False)
    loop.run()
    loop.close()
    relay.close()
    loop.context.destroy(linger=500)


def node(address: str, name: str, cpus: int, protocol: int | None) -> None:
    """Be a node until told to drain, or no head takes it."""
    from polyexec_zmq import _wire
    from polyexec_zmq._node import Node

    if protocol is not None:
        _wire.PROTOCOL = protocol  # type: ignore[misc]  # which no two versions have in common
    env = {"POLYEXEC_ZMQ_ADDRESS": address, "POLYEXEC_ZMQ_INSECURE": "1"}
    made = Node(address, None, cpus=cpus, method="forkserver", name=name, env=env)
    signal.signal(signal.SIGTERM, lambda *_: made.drain())
    made.start()
    print("ready", flush=True)  # noqa: T201 - the same
    while not made.ended.wait(0.2):
        pass  # a wait without end would keep Python from handling the signal on some platforms
    made.close()
    sys.exit(f"{made.failure}" if made.failure is not None else 0)


def go_with_the_test() -> None:
    """End when the test has ended that started this, however it did."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=go_with_the_test, daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    options: dict[str, Any] = json.loads(sys.argv[2])
    if sys.argv[1] == "head":
        head(**options)
    else:
        node(**options)
