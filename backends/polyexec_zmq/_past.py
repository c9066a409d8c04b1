"""What a head remembers of one executor's jobs that have ended, for as long as it may be asked.

A program that has lost its connection tells again all that it has not heard the end of. Some of
that has ended: the answer is on its way, or a node has it still, or it was lost. None of it is to
be run once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from polyexec_zmq._journal import NOBODY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Of how many lost jobs the head remembers that they are.
MOST_LOST: Final = 100_000


class Past:
    """Answers that are not acknowledged, and losses."""

    def __init__(self) -> None:
        #: By node, the jobs that were answered, by the letter's number.
        self._answers: dict[int, dict[int, list[int]]] = {}
        #: By node, those that it said to have answered, in letters that it has yet to write.
        self._unwritten: dict[int, set[int]] = {}
        self._settled: set[int] = set()
        self._losses: dict[int, dict[str, Any]] = {}

    def answered(self, node: int, letter: int, jobs: list[int], *, telling: bool) -> None:
        """Take note of a node's answers; *telling*: the program is telling again just now."""
        self._answers.setdefault(node, {})[letter] = jobs
        if node in self._unwritten:
            self._unwritten[node].difference_update(jobs)
        if telling:
            self.settle(jobs)

    def settle(self, jobs: Iterable[int]) -> None:
        """Take note that the program, which tells again just now, hears of the end of *jobs*."""
        self._settled.update(jobs)

    def acknowledged(self, node: int, letter: int) -> None:
        """Take note that a node's letters up to one have arrived."""
        letters = self._answers.get(node)
        while letters and (first := next(iter(letters))) <= letter:
            del letters[first]

    def claimed(self, node: int, answered: Iterable[tuple[int, list[int]]]) -> None:
        """Take note of what a node has answered to another head, and sends again.

        That is by letter, 0 for what it has not written one of.
        """
        letters = self._answers[node] = dict(answered)
        self._unwritten[node] = set(letters.pop(0, ()))
        self._settled.update(self._answered_by(node))

    def _answered_by(self, node: int) -> Iterator[int]:
        for jobs in self._answers.get(node, {}).values():
            yield from jobs
        yield from self._unwritten.get(node, ())

    def lost(self, node: int, jobs: list[int], how: dict[str, Any]) -> list[int]:
        """Take note that a node is lost with *jobs*; return those and what it had answered."""
        # Which may not have come through.
        jobs = [*jobs, *self._answered_by(node)]
        self._answers.pop(node, None)
        self._unwritten.pop(node, None)
        self._settled.difference_update(jobs)
        self._losses.update((job, how) for job in jobs)
        while len(self._losses) > MOST_LOST:
            del self._losses[next(iter(self._losses))]
        return jobs

    def begin_telling(self) -> None:
        """Make ready for a program that tells again what it has not heard of."""
        nodes = {*self._answers, *self._unwritten}
        self._settled = {job for node in nodes for job in self._answered_by(node)}

    def held(self) -> Iterator[tuple[int, list[int]]]:
        """Yield nodes, and what they have answered; at last nobody, and what is lost."""
        for node in self._answers:
            yield node, list(self._answered_by(node))
        yield NOBODY, list(self._losses)

    def is_settled(self, job: int) -> bool:
        """Return whether a job was answered, and that will be heard of."""
        return job in self._settled

    def loss(self, job: int) -> dict[str, Any] | None:
        """Return how a job was lost, None if it was not."""
        return self._losses.get(job)
