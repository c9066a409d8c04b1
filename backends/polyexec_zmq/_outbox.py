"""What goes from a node's workers to their program: in order, and until it has arrived.

What the pool tells, on any thread, is gathered until the line's thread sends it, many answers in a
letter. Those are kept until the program has acknowledged them, for neither a cut connection nor a
head that dies may lose one.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from polyexec_zmq import _wire as wire

if TYPE_CHECKING:
    from collections.abc import Callable

#: How many answers go into a letter.
_BATCH: Final = 256
#: For how many seconds a start is kept back, for most tasks have ended by then.
_START_AFTER: Final = 0.004
#: What says of jobs that they are not here: after a cut, that they are in no list says it.
_GIVEN_BACK: Final = (wire.RETURNED, wire.WITHDRAWN)


class StationTask:
    """Who owns a job here; *name* is its number, which its program knows it by."""

    __slots__ = ("answered", "name", "told", "worker")

    def __init__(self, number: int) -> None:
        self.name = number
        #: The number of the worker that has it, 0 if none, and what its program knows of that.
        self.worker = self.told = 0
        self.answered = False


class Outbox:
    """One executor's; *send* and *letter* are its station's, *worker_prefix* names its workers."""

    def __init__(
        self,
        send: Callable[[list[Any]], None],
        letter: Callable[..., list[Any]],
        worker_prefix: str,
    ) -> None:
        self._send = send
        self._letter = letter
        self._worker_prefix = worker_prefix
        self._out: deque[tuple[Any, ...]] = deque()
        self._starts: deque[tuple[float, StationTask]] = deque()
        self._seq = 0
        self._unacknowledged: deque[tuple[int, list[Any], list[int]]] = deque()

    def __len__(self) -> int:
        """Return how many letters, or answers, wait to be sent."""
        return len(self._out)

    @property
    def is_empty(self) -> bool:
        """Whether all has arrived."""
        return not (self._out or self._unacknowledged)

    def put(self, kind: int, *frames: Any) -> None:
        """Have a letter sent; on any thread."""
        self._out.append((kind, *frames))

    def answer(
        self, task: StationTask, status: int, body: bytes = b"", seconds: float = 0.0
    ) -> None:
        """Have an answer sent; on any thread."""
        micros = min(int(seconds * 1e6), (1 << 32) - 1)
        self._out.append((wire.ANSWERS, task.name, status, micros, task.worker, body))

    def note_worker(self, task: StationTask, worker: int, now: float) -> None:
        """Have it told that *worker* has *task*, nobody if 0; on any thread."""
        task.worker = worker
        self._starts.append((now, task))

    def answered(self) -> list[tuple[int, list[int]]]:
        """Return the jobs that are answered, as far as it is not known that this has arrived.

        That is by letter, 0 for those of which none has been written yet. What was to be said of
        jobs that were given back is not said any more.
        """
        letters = [(seq, answered) for seq, _, answered in self._unacknowledged]
        numbers: list[int] = []
        for item in list(self._out):
            if item[0] in _GIVEN_BACK:
                self._out.remove(item)
            elif item[0] == wire.ANSWERS:
                numbers.append(item[1])
        return [*letters, (0, numbers)]

    def acknowledged(self, newest: int) -> None:
        """Forget answers that have arrived."""
        while self._unacknowledged and self._unacknowledged[0][0] <= newest:
            self._unacknowledged.popleft()

    def resend(self) -> None:
        """Send again what is not acknowledged."""
        for _, letter, _ in self._unacknowledged:
            self._send(letter)

    def flush(self, most: int) -> float | None:
        """Send *most* of what there is; return how many seconds may pass until the next time."""
        answers: list[tuple[Any, ...]] = []
        for _ in range(most):
            if not self._out:
                break
            item = self._out.popleft()
            if item[0] == wire.ANSWERS:
                answers.append(item)
                if len(answers) < _BATCH:
                    continue
            if answers:
                self._send_answers(answers)
                answers = []
            if item[0] != wire.ANSWERS:
                if item[0] == wire.WITHDRAWN:
                    self._send_starts(at_once=True)  # what was not withdrawn may run
                self._send(self._letter(*item))
        if answers:
            self._send_answers(answers)
        return self._send_starts()

    def _send_answers(self, answers: list[tuple[Any, ...]]) -> None:
        self._seq += 1
        pack = wire.ANSWER.pack
        entries = [wire.NUMBER.pack(self._seq)]
        entries += [
            pack(n, status, micros, who, len(body)) for _, n, status, micros, who, body in answers
        ]
        bodies = b"".join([item[5] for item in answers])
        letter = self._letter(wire.ANSWERS, b"".join(entries), bodies)
        self._unacknowledged.append((self._seq, letter, [item[1] for item in answers]))
        self._send(letter)

    def _send_starts(self, *, at_once: bool = False) -> float | None:
        starts, now = self._starts, time.monotonic()
        begun: dict[int, list[int]] = {}
        while starts and (at_once or starts[0][1].answered or starts[0][0] + _START_AFTER <= now):
            _, task = starts.popleft()
            if not task.answered and task.told != task.worker:
                task.told = task.worker
                begun.setdefault(task.worker, []).append(task.name)
        for worker, numbers in begun.items():
            name = f"{self._worker_prefix}-{worker}".encode() if worker else b""
            self._send(self._letter(wire.STARTED, name, wire.pack_numbers(numbers)))
        return _START_AFTER if starts else None
