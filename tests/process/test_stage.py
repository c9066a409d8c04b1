"""Answers that gather on the stage, of which none may be lost, come twice, or wait for others."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import polyexec
import tasks
from core.fakes import PATIENCE, await_that

if sys.platform != "win32":
    from polyexec_process._answers import LATE, AnswerStream
    from polyexec_process._frames import (
        ANSWER,
        PAGE_SIZE,
        STAGE_SIZE,
        STAGED_FROM,
        STAGED_TO,
        VALUE,
    )

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from polyexec import Context, Executor, Future
    from polyexec.testing._gate import Gate

#: Which of so many tasks is not like the others.
HARD, COUNT = 50, 100
OTHERS = [number for number in range(COUNT) if number != HARD]


def submitted(
    executor: Executor, notes: Path, address: tuple[str, int] | None
) -> list[Future[int]]:
    """Run one task many times, so that it is sent many at a time from then on; then so many."""
    run = [executor.submit(tasks.note_down, str(notes), -1, HARD, address) for _ in range(2000)]
    assert {future.result(PATIENCE) for future in run} == {-1}
    notes.write_text("")
    return [
        executor.submit(tasks.note_down, str(notes), number, HARD, address)
        for number in range(COUNT)
    ]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Return where tasks leave their numbers."""
    return tmp_path / "notes"


def test_what_was_done_before_a_long_task_is_known_while_that_runs(
    context: Context, notes: Path, gate: Gate
) -> None:
    with context.Executor(1) as executor:
        futures = submitted(executor, notes, gate.address)
        gate.await_arrivals(1)
        assert [future.result(PATIENCE) for future in futures[:HARD]] == list(range(HARD))
        if context.name == "zmq":  # a node tells of beginnings apart from answers
            await_that(futures[HARD].running)
        assert futures[HARD].running()
        gate.close()
        assert [future.result(PATIENCE) for future in futures] == list(range(COUNT))
    assert sorted(map(int, notes.read_text().split())) == list(range(COUNT))


def test_a_long_task_is_stopped_though_answers_from_before_it_arrive(
    context: Context, notes: Path, gate: Gate
) -> None:
    with context.Executor(1) as executor:
        futures = submitted(executor, notes, gate.address)
        gate.await_arrivals(1)
        assert futures[HARD].cancel(running=True)
        assert [futures[number].result(PATIENCE) for number in OTHERS] == OTHERS


def test_what_was_done_before_a_death_counts(context: Context, notes: Path) -> None:
    with context.Executor(2) as executor:
        futures = submitted(executor, notes, None)
        with pytest.raises(polyexec.WorkerLostError):
            futures[HARD].result(PATIENCE)
        assert [futures[number].result(PATIENCE) for number in OTHERS] == OTHERS
    assert sorted(map(int, notes.read_text().split())) == OTHERS


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

    def __init__(self) -> None:
        self.pipe, self._end = os.pipe()
        os.set_blocking(self.pipe, False)
        self.words = memoryview(bytearray(PAGE_SIZE)).cast("Q")
        self.memory = memoryview(bytearray(STAGE_SIZE))
        self._staged = b""
        self._written = 0
        self.count = 0

    def answer(self) -> bytes:
        """Return the next answer, which is its number."""
        data = str(self.count).encode()
        self.count += 1
        return ANSWER.pack(len(data), VALUE, 0) + data

    def stage(self) -> None:
        """Leave one on the stage."""
        begun = len(self._staged)
        self._staged += self.answer()
        self.memory[begun : len(self._staged)] = self._staged[begun:]
        self.words[STAGED_TO] = self._written + len(self._staged)

    def write(self) -> None:
        """Write what is on the stage, and one more."""
        data = self._staged + self.answer()
        os.write(self._end, data)
        self._written += len(data)
        self._staged = b""
        self.words[STAGED_FROM] = self._written

    def write_some(self, part: float) -> None:
        """Write a part of that, and die."""
        data = self._staged + self.answer()
        cut = int(len(data) * part)
        os.write(self._end, data[:cut])
        if cut < len(data):  # what was not on the stage is lost
            self.count -= 1


@contextlib.contextmanager
def ends() -> Iterator[tuple[Writer, AnswerStream]]:
    """Yield where answers are written, and where they are read."""
    writer = Writer()
    try:
        yield writer, AnswerStream(writer.words, writer.memory)
    finally:
        os.close(writer.pipe)
        os.close(writer._end)


def read(writer: Writer, stream: AnswerStream) -> list[int]:
    return [int(bytes(data)) for _, _, data, _ in stream.read(writer.pipe)[0]]


def read_stage(stream: AnswerStream) -> list[int]:
    return [int(bytes(data)) for _, _, data, _ in stream.read_stage()]


STEPS = st.lists(st.sampled_from(["stage", "write", "read", "read_stage"]), max_size=40)


@given(STEPS, st.none() | st.floats(0, 1))
def test_each_answer_comes_once_and_in_order(steps: list[str], part: float | None) -> None:
    with ends() as (writer, stream):
        found: list[int] = []
        for step in steps:
            if step in {"stage", "write"}:
                getattr(writer, step)()
            else:
                found += read(writer, stream) if step == "read" else read_stage(stream)
        if part is not None:
            writer.write_some(part)
        found += read(writer, stream)
        found += read_stage(stream)
        assert found == list(range(writer.count))


def test_a_stage_that_fills_is_left_alone() -> None:
    with ends() as (writer, stream):
        assert stream.staged_for(10.0) is None
        writer.stage()
        assert stream.staged_for(10.0) == pytest.approx(LATE)
        writer.stage()
        assert stream.staged_for(10.0 + LATE) == pytest.approx(LATE)
        assert stream.staged_for(10.0 + 3 * LATE) == 0.0
        assert read_stage(stream) == [0, 1]
        assert stream.staged_for(20.0) is None


def test_what_is_written_while_it_is_read_is_left_to_the_pipe() -> None:
    with ends() as (writer, stream):
        writer.stage()

        class Stage:
            """The stage, of a worker that goes on before one has looked at it."""

            def __getitem__(self, place: slice) -> bytes:
                writer.write()
                writer.stage()
                return bytes(writer.memory[place])

        stage: Any = Stage()
        stream.stage = stage
        assert read_stage(stream) == []
        assert read(writer, stream) == [0, 1]
        stream.stage = writer.memory
        assert read_stage(stream) == [2]
