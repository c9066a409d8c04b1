"""What a head writes down, so that the next head at its place knows whom and what to expect.

Two things: which nodes there are, and which jobs they were sent. The next head is told of all jobs
by their programs, and by the nodes of those that they have. A job that no node has was not begun if
it was never sent to one, or to one that is back without it, and is run. If the node that it was
sent to is gone as well, it may have begun; so may one that was lost before, and all that a program
has which was given up.

Nothing is forced to the disk: it is to outlive the process, not the machine.
"""

from __future__ import annotations

import json
import os
import struct
from typing import TYPE_CHECKING, Final

from polyexec_zmq._keys import write_private

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: A program's number, a node's, and how many jobs follow; negative if they were given back.
_ENTRY: Final = struct.Struct("<QQq")
#: Which no node has for its number.
NOBODY: Final = 0
#: The number that stands for all jobs of a program, with which it was given up.
ALL: Final = 0
#: How large the file of jobs may become before it is begun anew, at least; many times what was
#: written then, so that this is rare.
_LARGEST: Final = 1 << 20
_GROWTH: Final = 4


class Journal:
    """The nodes and jobs of one head, in the files `roster` and `jobs` of *folder*."""

    def __init__(self, folder: Path) -> None:
        self._roster = folder / "roster"
        self._jobs = folder / "jobs"
        self._nodes: set[int] = set()
        self._fd = -1
        self._size = 0
        self._most = _LARGEST

    def read(self) -> tuple[set[int], dict[int, dict[int, int]]]:
        """Return the nodes of the head before this one, and by program which job was sent where."""
        try:
            self._nodes = {int(number) for number in json.loads(self._roster.read_text())}
        except (OSError, ValueError):  # the first head, or one that was killed as it wrote
            self._nodes = set()
        jobs = self._read_jobs()
        self.begin(
            (program, node, [number])
            for program, numbers in jobs.items()
            for number, node in numbers.items()
        )
        return set(self._nodes), jobs

    def _read_jobs(self) -> dict[int, dict[int, int]]:
        jobs: dict[int, dict[int, int]] = {}
        try:
            data = self._jobs.read_bytes()
        except OSError:
            return jobs
        at = 0
        while at + _ENTRY.size <= len(data):
            program, node, count = _ENTRY.unpack_from(data, at)
            at += _ENTRY.size
            end = at + 8 * abs(count)
            if end > len(data):
                break  # it was killed as it wrote
            numbers = struct.unpack_from(f"<{abs(count)}Q", data, at)
            at = end
            known = jobs.setdefault(program, {})
            for number in numbers:
                if count > 0:
                    known[number] = node
                else:
                    known.pop(number, None)
        return jobs

    def begin(self, live: Iterable[tuple[int, int, list[int]]]) -> None:
        """Begin the file of jobs anew, with those that are not done."""
        new = self._jobs.with_name(".jobs")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size = fd, 0
        for program, node, numbers in live:
            self.sent(program, node, numbers)
        self._most = max(_LARGEST, _GROWTH * self._size)
        new.replace(self._jobs)

    @property
    def is_full(self) -> bool:
        """Whether the file of jobs had better be begun anew."""
        return self._size > self._most

    def sent(self, program: int, node: int, numbers: list[int]) -> None:
        """Write down that *node* is being sent these jobs of *program*."""
        self._write(program, node, numbers, 1)

    def lost(self, program: int, numbers: list[int]) -> None:
        """Write down that no node will say how these ended."""
        self._write(program, NOBODY, numbers, 1)

    def given_back(self, program: int, numbers: list[int]) -> None:
        """Write down that no node has begun these."""
        self._write(program, NOBODY, numbers, -1)

    def _write(self, program: int, node: int, numbers: list[int], sign: int) -> None:
        if numbers:
            count = len(numbers)
            data = _ENTRY.pack(program, node, sign * count)
            self._size += os.write(self._fd, data + struct.pack(f"<{count}Q", *numbers))

    def add(self, node: int) -> None:
        """Write down *node*."""
        if node not in self._nodes:
            self._nodes.add(node)
            self._write_roster()

    def remove(self, node: int) -> None:
        """Strike out *node*, which is lost or has left."""
        if node in self._nodes:
            self._nodes.discard(node)
            self._write_roster()

    def _write_roster(self) -> None:
        write_private(self._roster, json.dumps(sorted(self._nodes)))

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
