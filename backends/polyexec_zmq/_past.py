"""What a head remembers of one executor's jobs that have ended, for as long as it may be asked.

A program that has lost its connection tells again all that it has not heard the end of. Some of
that has ended: the answer is on its way, or a node has it still, or it was lost. None of it is to
be run once more.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Of how many lost jobs the head remembers that they are.
MOST_LOST: Final = 100_000


class Past:
    """Answers that are not acknowledged, and losses."""

    def __init__(self) -> None:
        #: By node, the jobs that were answered, each letter's with its number.
        self._answers: dict[int, deque[tuple[int, list[int]]]] = {}
        self._settled: set[int] = set()
        self._losses: dict[int, dict[str, Any]] = {}

    def answered(self, node: int, letter: int, jobs: list[int], *, telling: bool) -> None:
        """Take note of a node's answers; *telling*: the program is telling again just now."""
        self._answers.setdefault(node, deque()).append((letter, jobs))
        if telling:
            self._settled.update(jobs)

    def acknowledged(self, node: int, letter: int) -> None:
        """Take note that a node's letters up to one have arrived."""
        letters = self._answers.get(node, ())
        while letters and letters[0][0] <= letter:
            letters.popleft()

    def claimed(self, node: int, jobs: Iterable[int]) -> None:
        """Take note of what a node has answered to another head, and sends again."""
        # Until the first of its letters is acknowledged; all are sent again.
        self._answers[node] = deque([(0, list(jobs))])
        self._settled.update(jobs)

    def lost(self, node: int, jobs: list[int], how: dict[str, Any]) -> list[int]:
        """Take note that a node is lost with *jobs*; return those and what it had answered."""
        # Which may not have come through.
        jobs = jobs + [job for _, answered in self._answers.pop(node, ()) for job in answered]
        self._settled.difference_update(jobs)
        self._losses.update((job, how) for job in jobs)
        while len(self._losses) > MOST_LOST:
            del self._losses[next(iter(self._losses))]
        return jobs

    def begin_telling(self) -> None:
        """Make ready for a program that tells again what it has not heard of."""
        letters = [letter for letters in self._answers.values() for letter in letters]
        self._settled = {job for _, jobs in letters for job in jobs}

    def is_settled(self, job: int) -> bool:
        """Return whether a job was answered, and that will be heard of."""
        return job in self._settled

    def loss(self, job: int) -> dict[str, Any] | None:
        """Return how a job was lost, None if it was not."""
        return self._losses.get(job)
