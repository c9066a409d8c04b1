"""A gate at which tasks wait for the test, whatever process they run in.

Tests must not sleep to let something happen. A task that calls `tasks.pass_gate(gate.address)`
connects to the gate, so the test knows that it runs; it goes on when the test answers.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import deque

Address = tuple[str, int]

#: The environment variable that names an address of this machine.
HOST = "POLYEXEC_TESTING_HOST"


class Gate:
    """Counts who arrives; each waits for its answer, all get one when the gate is open."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        # The one that workers on other machines reach, if there are any.
        host = os.environ.get(HOST, "127.0.0.1")
        self._listener = socket.create_server((host, 0), backlog=512)
        self.address: Address = self._listener.getsockname()
        self._changed = threading.Condition()
        self._waiting: deque[socket.socket] = deque()
        self._arrived: list[str] = []
        self._open = False
        self._closed = False
        threading.Thread(target=self._welcome, daemon=True).start()

    @property
    def arrived(self) -> list[str]:
        """The names that those who arrived gave, in order."""
        with self._changed:
            return list(self._arrived)

    def await_arrivals(self, count: int) -> None:
        """Return once *count* have arrived; AssertionError if they don't."""
        with self._changed:
            enough = self._changed.wait_for(
                lambda: len(self._arrived) >= count, timeout=self._patience
            )
            assert enough, f"{len(self._arrived)} of {count} tasks began to run"

    def answer(self, text: str) -> None:
        """Let the one that has waited longest go on with *text*."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._waiting, timeout=self._patience)
            _send(self._waiting.popleft(), text)

    def open(self) -> None:
        """Let everyone pass, those to come as well."""
        with self._changed:
            self._open = True
            while self._waiting:
                _send(self._waiting.popleft(), "")

    def close(self) -> None:
        """Open the gate for good, and listen no more once nobody can come."""
        self.open()
        with self._changed:
            self._closed = True
        # Closing alone would not wake the thread that accepts.
        with contextlib.suppress(OSError), socket.create_connection(self.address):
            pass

    def _welcome(self) -> None:
        with self._listener:
            while True:
                visitor, _ = self._listener.accept()
                with self._changed:
                    if self._closed:
                        visitor.close()
                        return
                with visitor.makefile("r", encoding="utf-8") as lines:
                    name = lines.readline().strip()
                with self._changed:
                    self._arrived.append(name)
                    if self._open:
                        _send(visitor, "")
                    else:
                        self._waiting.append(visitor)
                    self._changed.notify_all()


def pass_gate(address: Address, name: str = "") -> str:
    """Announce oneself as *name*, wait for the answer and return it."""
    with socket.create_connection(address) as connection:
        connection.sendall(f"{name}\n".encode())
        with connection.makefile("r", encoding="utf-8") as lines:
            return lines.readline().strip()


def _send(visitor: socket.socket, text: str) -> None:
    with contextlib.suppress(OSError), visitor:  # it may have been killed while it waited
        visitor.sendall(f"{text}\n".encode())
