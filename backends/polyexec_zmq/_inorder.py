"""Outcomes after the log records that came before them, though handlers have their own thread."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from polyexec.surroundings import Handling, handle_record
from polyexec_zmq._logflow import SOME

if TYPE_CHECKING:
    from collections.abc import Callable

#: How many seconds pass, at most, before somebody looks whether a handler is stuck.
_GLANCE: Final = 0.1


class InOrder:
    """One executor's; all but `join` is called on one thread, which *wake* wakes."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._handling = Handling()
        self._lock = threading.Lock()
        self._received = 0
        self._handled = 0
        self._calls: deque[tuple[int, Callable[[], object]]] = deque()
        #: Up to which number each node's records are handled, and the node has been told so.
        self._numbers: dict[int, int] = {}
        self._told: dict[int, int] = {}
        #: How often nodes have begun to count anew.
        self._beginnings = 0

    def handle(self, node: int, number: int, record: Any) -> None:
        """Have a node's record handled."""
        beginning = self._beginnings
        self.put(lambda: self._handle_record(beginning, node, number, bytes(record)))

    def _handle_record(self, beginning: int, node: int, number: int, record: bytes) -> None:
        try:
            handle_record(record)
        finally:
            with self._lock:
                if beginning == self._beginnings:
                    self._numbers[node] = number
            if number - self._told.get(node, 0) >= SOME:
                self._wake()

    def begin_anew(self) -> None:
        """Take note that nodes count from 1 again."""
        with self._lock:
            self._beginnings += 1
            self._numbers.clear()
            self._told.clear()

    def put(self, call: Callable[[], object]) -> None:
        """Have *call* called on the handlers' thread, as a record is handled."""
        self._received += 1
        self._handling.put(lambda: self._handle(call))

    def _handle(self, call: Callable[[], object]) -> None:
        try:
            call()
        finally:
            with self._lock:
                self._handled += 1
                wanted = bool(self._calls) and self._handled >= self._calls[0][0]
            if wanted:
                self._wake()

    def news(self) -> list[tuple[int, int]]:
        """Return the nodes that should hear up to which number their records are handled."""
        with self._lock:
            numbers = list(self._numbers.items())
        news = [each for each in numbers if each[1] - self._told.get(each[0], 0) >= SOME]
        self._told.update(news)
        return news

    def call(self, call: Callable[[], object]) -> None:
        """Call *call* once the records that have come are handled; at once if they are."""
        if not self._calls and self._handled >= self._received:
            call()
        else:
            with self._lock:
                self._calls.append((self._received, call))

    def look(self) -> float | None:
        """Do what is due; return how many seconds may pass until the next look, None for any."""
        while self._calls:
            stuck = self._handling.stuck
            with self._lock:
                if self._calls[0][0] > self._handled and not stuck:
                    return _GLANCE
                _, call = self._calls.popleft()
            call()
        return None

    @property
    def is_current(self) -> bool:
        """Whether it is a handler that calls; nothing that it waits for can wait for it."""
        return self._handling.is_current

    def join(self) -> None:
        """Return once all records are handled, unless a handler is stuck."""
        self._handling.join()
