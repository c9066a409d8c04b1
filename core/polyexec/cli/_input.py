"""Standard input, line by line, read ahead by a thread and no further than there is room for."""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BLOCK = 2**16  # bytes: what a pipe holds
BLOCKS_AHEAD = 2
MOST_CHARACTERS = 2**16  # of a chunk, so that long lines make short chunks


class Lines(NamedTuple):
    """Some lines that have been read."""

    lines: list[str]


class EndOfInput(NamedTuple):
    """Nothing more comes, because of *error* if there is one."""

    error: OSError | None = None


class LineReader:
    """Reads lines from a file descriptor in a thread and hands them to *deliver* in blocks.

    At most `BLOCKS_AHEAD` blocks are delivered beyond those that `consumed` was called for. The
    thread is a daemon, and reads the descriptor itself: the interpreter neither waits for a blocked
    read at its exit nor needs a lock that such a read holds, as it would with `sys.stdin`.
    """

    def __init__(self, descriptor: int, deliver: Callable[[Lines | EndOfInput], None]) -> None:
        self._descriptor = descriptor
        self._deliver = deliver
        self._room = threading.Semaphore(BLOCKS_AHEAD)
        self._thread = threading.Thread(target=self._run, name="polyexec-stdin", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def consumed(self, blocks: int) -> None:
        """Make room for as many more *blocks*."""
        for _ in range(blocks):
            self._room.release()

    def _run(self) -> None:
        error: OSError | None = None
        try:
            for lines in split_lines(read_blocks(self._descriptor)):
                self._room.acquire()
                self._deliver(Lines(lines))
        except OSError as caught:
            error = caught
        self._deliver(EndOfInput(error))


class Supply:
    """The items at hand: those given at once, or the lines that *reader* has delivered so far."""

    def __init__(self, items: Iterable[str] = (), reader: LineReader | None = None) -> None:
        self._items = deque(items)
        self._reader = reader
        self._blocks = 0
        self._seen = len(self._items)
        self.ended = reader is None

    @property
    def total(self) -> int | None:
        """The number of all items, once it is known."""
        return self._seen if self.ended else None

    @property
    def is_exhausted(self) -> bool:
        """Whether there is no item and none will come."""
        return self.ended and not self._items

    def start(self) -> None:
        """Begin to read, if there is something to read."""
        if self._reader:
            self._reader.start()

    def receive(self, lines: list[str]) -> None:
        """Take in a block that the reader has delivered."""
        if not self.ended:
            self._items.extend(lines)
            self._blocks += 1
            self._seen += len(lines)

    def end(self) -> None:
        """Take in that nothing more will come."""
        self.ended = True

    def abandon(self) -> None:
        """Forget the items at hand, and take no others."""
        self._items.clear()
        self.end()

    def take(self, size: int) -> list[str]:
        """Remove and return up to *size* items, and no more than are at hand."""
        taken: list[str] = []
        characters = 0
        while self._items and len(taken) < size and characters < MOST_CHARACTERS:
            taken.append(self._items.popleft())
            characters += len(taken[-1])
        if self._reader and not self._items:
            self._reader.consumed(self._blocks)
            self._blocks = 0
        return taken


def read_blocks(descriptor: int) -> Iterator[bytes]:
    """Yield what *descriptor* gives, as soon as it gives it, to its end."""
    while True:
        try:
            block = os.read(descriptor, BLOCK)
        except BlockingIOError:  # whoever shares our input has made it non-blocking
            select.select([descriptor], [], [])
            continue
        if not block:
            return
        yield block


def split_lines(blocks: Iterable[bytes]) -> Iterator[list[str]]:
    r"""Yield each block's complete lines, without their `\n` or `\r\n`, at the end the last line.

    Bytes that are not UTF-8 become lone surrogates (PEP 383), as they do in file names.
    """
    parts: list[bytes] = []
    for block in blocks:
        cut = block.rfind(b"\n")
        if cut < 0:
            parts.append(block)
            continue
        parts.append(block[:cut])
        yield _decoded(b"".join(parts))
        parts = [block[cut + 1 :]] if cut + 1 < len(block) else []
    if parts:
        yield [b"".join(parts).decode("utf-8", "surrogateescape")]


def _decoded(block: bytes) -> list[str]:
    text = block.decode("utf-8", "surrogateescape")
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in lines] if "\r" in text else lines
