"""Drives a cluster's head alone: letters made by hand, no socket, no process and no thread.

Nodes answer as soon as they are asked, and say that each task took as long as it is told here.
Only what the head does counts: letters are made, and answers to them, while the clock stands still.
As its loop does, it takes some letters, and settles then.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyexec_zmq import _wire as wire
from polyexec_zmq._head import Head
from polyexec_zmq._versions import versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polyexec_zmq._members import HeadMember

#: How many letters the loop takes before the head settles, at most.
SOME = 64
#: How many jobs a program's letter has, and how many of its letters it acknowledges at once.
BATCH, ACKNOWLEDGED = 256, 16
_CLIENT = 1
_EXECUTOR = 1
_KIND = 1
#: An executor that wants all workers, and nothing of them.
_SPEC: dict[str, Any] = {
    "workers": None,
    "env": {},
    "max_tasks": None,
    "max_memory": None,
    "idle_timeout": None,
}
#: What a no-op call is, pickled: as long as that.
CALL = b"c" * 16


class Drive:
    """A head, *nodes* of one worker each, and a program; a task takes *duration* seconds."""

    def __init__(self, nodes: int, duration: float) -> None:
        self._micros = int(duration * 1e6)
        self._outbox: list[tuple[HeadMember, list[Any]]] = []
        self._to_head: deque[tuple[bytes, list[Any]]] = deque()
        self.head = Head(
            lambda member, letter: self._outbox.append((member, letter)), versions=versions()
        )
        self._numbers = itertools.count(1)
        self._seqs: dict[int, int] = {}
        self._unacknowledged: dict[int, int] = {}
        #: Seconds that the head has taken, letters that it was handed, letters with jobs that it
        #: sent, and tasks that have ended.
        self.seconds = 0.0
        self.letters = self.job_letters = self.ended = 0
        self._join(_CLIENT, role="client")
        for number in range(nodes):
            self._join(_CLIENT + 1 + number, role="node", cpus=1, name=f"n{number}", host="h")
        self._put(_CLIENT, wire.OPEN, 0, wire.to_json(_SPEC), b"")
        self._put(_CLIENT, wire.FUNCTION, 0, wire.COUNT.pack(_KIND), b"function")
        self.turn()
        assert not self.head.malformed.count, "a letter that was made by hand makes no sense"

    def _join(self, member: int, **what: Any) -> None:
        hello = {"member": member, "incarnation": None, "pid": 0, "stations": [], **what}
        self._to_head.append(
            (_rid(member), wire.letter(wire.HELLO, 0, 0, wire.to_json({**hello, **versions()})))
        )

    def _put(self, member: int, kind: int, peer: int, *frames: Any) -> None:
        self._to_head.append((_rid(member), wire.letter(kind, peer, _EXECUTOR, *frames)))

    def submit(self, count: int) -> None:
        """Have the program send *count* jobs."""
        for start in range(0, count, BATCH):
            size = min(BATCH, count - start)
            jobs = [
                wire.JOB.pack(next(self._numbers), _KIND, len(CALL), 0, 0, 0.0) for _ in range(size)
            ]
            self._put(_CLIENT, wire.JOBS, 0, b"".join(jobs), CALL * size)

    def take(self) -> None:
        """Have the head take some letters."""
        letters = [self._to_head.popleft() for _ in range(min(SOME, len(self._to_head)))]
        now = time.monotonic()
        receive = self.head.receive
        began = time.process_time_ns()
        for rid, frames in letters:
            receive(rid, frames, now, str)
        self.head.settle()
        self.seconds += (time.process_time_ns() - began) / 1e9
        self.letters += len(letters)

    def turn(self) -> None:
        """Have the head take all letters that there are; what it sends waits."""
        while self._to_head:
            self.take()

    def answer(self, most: int) -> None:
        """Have nodes and program react to the *most* oldest letters of the head."""
        outbox, self._outbox = self._outbox[:most], self._outbox[most:]
        for member, letter in outbox:
            kind, peer, _ = wire.HEAD.unpack(letter[0])
            if kind == wire.JOBS:
                self.job_letters += 1
                self._run(member.id, letter)
            elif kind == wire.ANSWERS:
                self.ended += (len(letter[1]) - wire.NUMBER.size) // wire.ANSWER.size
                self._acknowledge(peer, letter)

    def _run(self, node: int, letter: Sequence[Any]) -> None:
        seq = self._seqs[node] = self._seqs.get(node, 0) + 1
        answers = [
            wire.ANSWER.pack(job[0], 0, self._micros, 1, 4)
            for job in wire.JOB.iter_unpack(letter[1])
        ]
        entries = wire.NUMBER.pack(seq) + b"".join(answers)
        self._put(node, wire.ANSWERS, _CLIENT, entries, b"none" * len(answers))

    def _acknowledge(self, node: int, letter: Sequence[Any]) -> None:
        """Acknowledge the letters of a node, once there are some."""
        count = self._unacknowledged[node] = self._unacknowledged.get(node, 0) + 1
        if count == ACKNOWLEDGED:
            self._unacknowledged[node] = 0
            self._put(_CLIENT, wire.ACK, node, bytes(letter[1][: wire.NUMBER.size]))

    def run(self, tasks: int, held: int) -> None:
        """Have *tasks* run, while the head has *held* of them, or more that it had before."""
        ends = self.ended + tasks
        while self.ended < ends:
            self.submit(held - len(self._jobs))
            self.take()
            self.answer(SOME)

    @property
    def _jobs(self) -> dict[int, Any]:
        return self.head.works[_CLIENT, _EXECUTOR].jobs


def _rid(member: int) -> bytes:
    return b"\1%d" % member


def scaling(nodes: int, tasks: int, batch: int) -> dict[str, float]:
    """Return what letters and tasks cost, in microseconds, with *batch* tasks for each node."""
    drive = Drive(nodes, duration=0.001)
    drive.run(tasks // 10, nodes * batch)
    seconds, letters, ended, sent = drive.seconds, drive.letters, drive.ended, drive.job_letters
    drive.run(tasks, nodes * batch)
    spent = (drive.seconds - seconds) * 1e6
    return {
        "letter": spent / (drive.letters - letters),
        "task": spent / (drive.ended - ended),
        "batch": (drive.ended - ended) / (drive.job_letters - sent),
    }


def queueing(queued: int, tasks: int) -> dict[str, float]:
    """Return what a task costs with *queued* others, in microseconds, and their memory in bytes."""
    drive = Drive(2, duration=0.001)
    drive.run(1000, 512)
    gc.collect()
    before, seconds = _resident(), drive.seconds
    for start in range(0, queued, BATCH):
        drive.submit(min(BATCH, queued - start))
        drive.turn()  # nobody answers, so that they stay
    accepting = drive.seconds - seconds
    gc.collect()
    memory = (_resident() - before) / queued
    seconds, ended = drive.seconds, drive.ended
    drive.run(tasks, queued)
    spent = (drive.seconds - seconds) * 1e6
    return {
        "accept": accepting / queued * 1e6,
        "task": spent / (drive.ended - ended),
        "memory": memory,
    }


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096
