"""Outcomes after the log records that came before them, though handlers have their own thread."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, Final

from polyexec.surroundings import Handling, handle_record
from polyexec_zmq._logflow import SOME

if TYPE_CHECKING:
    from collections.abc import Callable

#: How many seconds pass, at most, before somebody looks whether a handler is stuck.
_GLANCE: Final = 0.1


class _Count:
    """Up to which number a node's records are handled, and it has been told so."""

    __slots__ = ("handled", "told")

    def __init__(self) -> None:
        self.handled = self.told = 0

    @property
    def has_news(self) -> bool:
        """Whether the node should hear of it."""
        return self.handled - self.told >= SOME


class InOrder:
    """One executor's; all but `join` is called on one thread, which *wake* wakes."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._handling = Handling()
        self._lock = threading.Lock()
        self._received = 0
        self._handled = 0
        self._calls: deque[tuple[int, Callable[[], object]]] = deque()
        self._counts: defaultdict[int, _Count] = defaultdict(_Count)

    def handle(self, node: int, number: int, record: Any) -> None:
        """Have a node's record handled."""
        count = self._counts[node]
        self.put(lambda: self._handle_record(count, number, bytes(record)))

    def _handle_record(self, count: _Count, number: int, record: bytes) -> None:
        try:
            handle_record(record)
        finally:
            count.handled = number
            if count.has_news:
                self._wake()

    def forget(self, node: int) -> None:
        """Take note that *node* counts from 0, should more come of it."""
        self._counts.pop(node, None)

    def forget_all(self) -> None:
        """Take note that all nodes count from 0."""
        self._counts.clear()

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
        news: list[tuple[int, int]] = []
        for node, count in self._counts.items():
            if count.has_news:
                count.told = count.handled
                news.append((node, count.told))
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
