"""What a worker answers, from its pipe and from the stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from polyexec_process._frames import ANSWER, FLAGS, STAGED_FROM, STAGED_TO
from polyexec_process._readbuffer import READ, ReadBuffer

if TYPE_CHECKING:
    from collections.abc import Sequence

#: After how many seconds a worker that has answered nothing is at what takes long.
LATE: Final = 0.001

#: One answer of a worker: its status, the seconds that it took, and what it carries: a pickle, and
#: the buffers that the pickle refers to. A plain tuple, for there are very many.
Answer: TypeAlias = "tuple[int, float, bytes | memoryview, Sequence[memoryview]]"


class AnswerStream:
    """One worker's answers, each once and in order; for one thread.

    *words* and *stage* are in the memory that both see. The pipe's end is its link's to close.
    """

    def __init__(self, words: memoryview, stage: memoryview) -> None:
        self._words = words
        self.stage: memoryview = stage
        self._reading = ReadBuffer()
        #: What has come of an answer that is not complete, how much that is, and how much it takes.
        self._parts: list[bytes] = []
        self._got = 0
        self._need = ANSWER.size
        #: How many bytes of answers have come, and how many of those, from the stage, the pipe is
        #: to bring again.
        self._came = 0
        self._ahead = 0
        #: How far the stage was filled at the last look, and when that was first seen.
        self._staged_to = 0
        self._staged_at = 0.0
        #: Whether there was an answer with flags in its status.
        self.has_flags: bool = False

    def read(self, fd: int) -> tuple[list[Answer], bool]:
        """Return the answers that have come through the pipe *fd*, and whether more may come."""
        answers: list[Answer] = []
        for _ in range(8):  # so that one worker does not keep us from the others
            try:
                data = self._reading.read(fd, self._need - self._got)
            except BlockingIOError:
                return answers, True
            if not data:
                return answers, False
            size = len(data)
            if self._ahead:
                known = min(self._ahead, size)
                self._ahead -= known
                data = data[known:]
            self._take(data, answers)
            if size < READ:
                break
        return answers, True

    def staged_for(self, now: float) -> float | None:
        """Return for how many seconds the stage is to be left alone, None if nothing is there.

        While its worker answers, what is there is soon in the pipe; no need to have it twice.
        """
        to = self._words[STAGED_TO]
        if to <= self._came:
            return None
        if to != self._staged_to:
            self._staged_to, self._staged_at = to, now
        return max(self._staged_at + LATE - now, 0.0)

    def read_stage(self) -> list[Answer]:
        """Return the answers on the stage, of a worker that is dead or at what takes long."""
        answers: list[Answer] = []
        since, to = self._words[STAGED_FROM], self._words[STAGED_TO]
        if since <= self._came < to:  # else there are others before, in the pipe
            data = bytes(self.stage[self._came - since : to - since])
            # If it has gone on meanwhile: this changes before anything there does.
            if self._words[STAGED_FROM] == since:
                self._ahead += len(data)
                self._take(data, answers)
        return answers

    def _take(self, data: bytes, answers: list[Answer]) -> None:
        self._parts.append(data)
        self._came += len(data)
        self._got += len(data)
        if self._got >= self._need:
            self._parse(answers)

    def _parse(self, answers: list[Answer]) -> None:
        data = b"".join(self._parts) if len(self._parts) > 1 else self._parts[0]
        unpack, size, at, end = ANSWER.unpack_from, ANSWER.size, 0, len(data)
        need, last, append, seen = size, len(data) - ANSWER.size, answers.append, 0
        while at <= last:
            length, status, micros = unpack(data, at)
            seen |= status
            if not length:
                at += size
                append((status, micros * 1e-6, b"", ()))
                continue
            start = at + size
            if end - start < length:
                need = size + length
                break
            at = start + length
            append((status, micros * 1e-6, data[start:at], ()))
        if seen & FLAGS:
            self.has_flags = True
        rest = data[at:] if at else data
        self._parts, self._got, self._need = ([rest] if rest else []), len(rest), need
