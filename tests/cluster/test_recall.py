"""What a node that is stuck has not begun goes to others."""

from __future__ import annotations

from typing import Any

from polyexec_zmq import _wire as wire
from polyexec_zmq._work import PATIENCE, Work

STUCK, FREE = 2, 3
TASKS = 400


def _jobs(first: int, count: int) -> list[Any]:
    entries = [wire.JOB.pack(first + number, -1, 0, 0, 0, 0.0) for number in range(count)]
    return wire.letter(wire.JOBS, 0, 1, b"".join(entries), b"")


def _answer(work: Work, node: int) -> None:
    """Have *node* answer all that it has."""
    numbers = [job.owner for job in work.windows[node].entries]
    entries = [wire.ANSWER.pack(number, 0, 1, 1, 0) for number in numbers]
    answers = wire.NUMBER.pack(1) + b"".join(entries)
    work.answered(node, wire.letter(wire.ANSWERS, 1, 1, answers, b""))


def test_all_that_waits_behind_a_task_that_lasts_is_recalled_at_once() -> None:
    recalled: list[int] = []

    def send(_: int, letter: list[Any]) -> None:
        if wire.HEAD.unpack(letter[0])[0] == wire.RECALL:
            recalled.append(wire.COUNT.unpack(letter[1])[0])

    work = Work(1, 1, {"workers": None}, b"", send)
    work.place({STUCK: 1, FREE: 1})
    work.accept(_jobs(1, 2))
    work.dispatch()
    for node in (STUCK, FREE):
        _answer(work, node)
    work.accept(_jobs(3, TASKS))
    work.dispatch()
    stuck, free = work.windows[STUCK], work.windows[FREE]
    while work.scheduler.ready or free.entries:
        _answer(work, FREE)
        work.dispatch()
    held = [job.owner for job in stuck.entries]
    assert len(held) > 1
    assert work.recall(stuck.progressed_at + 2 * PATIENCE)
    assert recalled == [len(held) - 1]
    work.returned(STUCK, held[1:])
    while work.scheduler.ready or free.entries:
        work.dispatch()
        _answer(work, FREE)
    assert [job.owner for job in stuck.entries] == held[:1]
