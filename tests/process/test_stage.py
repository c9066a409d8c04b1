"""Answers that gather on the stage, of which none may be lost, come twice, or wait for others."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import polyexec
import tasks
from core.fakes import PATIENCE
from polyexec.testing._gate import Gate
from polyexec.waiting import Condition

if sys.platform != "win32":
    from polyexec_process._frames import ANSWER, STAGED_FROM, STAGED_TO, VALUE
    from polyexec_process._link import LATE, Link

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from polyexec import Context, Executor, Future

#: Which of so many tasks is not like the others.
HARD, COUNT = 50, 100


def known_as_quick(executor: Executor, notes: Path, address: tuple[str, int] | None) -> None:
    """Run one task many times, so that it is sent many at a time from then on."""
    run = [executor.submit(tasks.note_down, str(notes), -1, HARD, address) for _ in range(2000)]
    assert {future.result(PATIENCE) for future in run} == {-1}
    notes.write_text("")


def submitted(
    executor: Executor, notes: Path, address: tuple[str, int] | None
) -> list[Future[int]]:
    return [
        executor.submit(tasks.note_down, str(notes), number, HARD, address)
        for number in range(COUNT)
    ]


def test_what_was_done_before_a_long_task_is_known_while_that_runs(
    context: Context, tmp_path: Path
) -> None:
    notes, gate = tmp_path / "notes", Gate(PATIENCE)
    with context.Executor(1) as executor:
        known_as_quick(executor, notes, gate.address)
        futures = submitted(executor, notes, gate.address)
        gate.await_arrivals(1)
        assert [future.result(PATIENCE) for future in futures[:HARD]] == list(range(HARD))
        assert futures[HARD].running()
        gate.close()
        assert [future.result(PATIENCE) for future in futures] == list(range(COUNT))
    assert sorted(map(int, notes.read_text().split())) == list(range(COUNT))


def test_what_was_done_before_a_death_counts(context: Context, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with context.Executor(2) as executor:
        known_as_quick(executor, notes, None)
        futures = submitted(executor, notes, None)
        with pytest.raises(polyexec.WorkerLostError):
            futures[HARD].result(PATIENCE)
        others = [number for number in range(COUNT) if number != HARD]
        assert [futures[number].result(PATIENCE) for number in others] == others
    assert sorted(map(int, notes.read_text().split())) == others


def test_a_long_task_is_stopped_though_answers_from_before_it_arrive(
    context: Context, tmp_path: Path
) -> None:
    notes, gate = tmp_path / "notes", Gate(PATIENCE)
    with context.Executor(1) as executor:
        known_as_quick(executor, notes, gate.address)
        futures = submitted(executor, notes, gate.address)
        gate.await_arrivals(1)
        assert futures[HARD].cancel(running=True)
        others = [number for number in range(COUNT) if number != HARD]
        assert [futures[number].result(PATIENCE) for number in others] == others
        gate.close()


def test_nothing_runs_twice_after_a_task_that_closed_all_descriptors(
    context: Context, tmp_path: Path
) -> None:
    with context.Executor(1) as executor:
        run = [
            executor.submit(tasks.close_and_open, str(tmp_path), -number, HARD)
            for number in range(1, 1000)
        ]
        assert all(future.result(PATIENCE) < 0 for future in run)
        futures = [
            executor.submit(tasks.close_and_open, str(tmp_path), number, HARD)
            for number in range(COUNT)
        ]
        errors = [future.exception(PATIENCE) for future in futures]
    lost = [number for number, error in enumerate(errors) if error is not None]
    assert len(lost) == 1
    assert isinstance(errors[lost[0]], polyexec.WorkerLostError)
    assert lost[0] >= HARD
    assert not any(path.stat().st_size for path in tmp_path.iterdir())


# -- one end of it, with the other by hand --------------------------------------------------------


class Writer:
    """Does as a worker does with its answers."""

    def __init__(self, link: Link) -> None:
        self.words, self.stage_memory = link.words, link._stage
        _, self._pipe, *_ = link.fds
        self._staged = b""
        self._written = 0
        self._count = 0

    def answer(self) -> bytes:
        """Return the next answer, which is its number."""
        data = str(self._count).encode()
        self._count += 1
        return ANSWER.pack(len(data), VALUE, 0) + data

    def stage(self) -> None:
        """Leave one on the stage."""
        begun = len(self._staged)
        self._staged += self.answer()
        self.stage_memory[begun : len(self._staged)] = self._staged[begun:]
        self.words[STAGED_TO] = self._written + len(self._staged)

    def write(self) -> None:
        """Write what is on the stage, and one more."""
        data = self._staged + self.answer()
        os.write(self._pipe, data)
        self._written += len(data)
        self._staged = b""
        self.words[STAGED_FROM] = self._written

    def write_some(self, part: float) -> None:
        """Write a part of that, and die."""
        data = self._staged + self.answer()
        cut = int(len(data) * part)
        os.write(self._pipe, data[:cut])
        if cut < len(data):  # what was not on the stage is lost
            self._count -= 1


@pytest.fixture
def link() -> Iterator[Link]:
    """Return one end of a worker that is not there."""
    link = Link(0, "none", Condition(), lambda *_: None)
    yield link
    link.close()


def read(link: Link) -> list[int]:
    return [int(bytes(data)) for _, _, data, _ in link.read()[0]]


def read_stage(link: Link) -> list[int]:
    return [int(bytes(data)) for _, _, data, _ in link.read_stage()]


STEPS = st.lists(st.sampled_from(["stage", "write", "read", "read_stage"]), max_size=40)


@given(STEPS, st.none() | st.floats(0, 1))
def test_each_answer_comes_once_and_in_order(steps: list[str], part: float | None) -> None:
    link = Link(0, "none", Condition(), lambda *_: None)
    try:
        writer, found = Writer(link), list[int]()
        for step in steps:
            if step in {"stage", "write"}:
                getattr(writer, step)()
            else:
                found += {"read": read, "read_stage": read_stage}[step](link)
        if part is not None:
            writer.write_some(part)
        found += read(link)
        found += read_stage(link)
        assert found == list(range(writer._count))
    finally:
        link.close()


def test_a_stage_that_fills_is_left_alone(link: Link) -> None:
    writer = Writer(link)
    assert link.staged_for(10.0) is None
    writer.stage()
    assert link.staged_for(10.0) == pytest.approx(LATE)
    writer.stage()
    assert link.staged_for(10.0 + LATE) == pytest.approx(LATE)
    assert link.staged_for(10.0 + 3 * LATE) == 0.0
    assert read_stage(link) == [0, 1]
    assert link.staged_for(20.0) is None


def test_what_is_written_while_it_is_read_is_left_to_the_pipe(link: Link) -> None:
    writer = Writer(link)
    writer.stage()

    class Stage:
        """The stage, of a worker that goes on before one has looked at it."""

        def __getitem__(self, place: slice) -> bytes:
            writer.write()
            writer.stage()
            return bytes(writer.stage_memory[place])

    stage: Any = Stage()
    link._stage = stage
    assert read_stage(link) == []
    assert read(link) == [0, 1]
    link._stage = writer.stage_memory
    assert read_stage(link) == [2]
