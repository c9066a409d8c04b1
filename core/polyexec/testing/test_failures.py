"""Tasks that fail: each ends in its own error, as itself, and hurts nobody else."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from polyexec import Executor, PolyexecError, capabilities
from polyexec.testing import tasks

if TYPE_CHECKING:
    from collections.abc import Callable


def _still_works(executor: Executor, patience: float) -> bool:
    return [executor.submit(tasks.square, n).result(patience) for n in range(5)] == [0, 1, 4, 9, 16]


def test_an_exception_arrives_as_itself(executor: Executor, patience: float) -> None:
    error = executor.submit(tasks.fail, "oops").exception(patience)
    assert type(error) is ValueError
    assert error.args == ("oops",)


def test_an_exception_whose_init_takes_other_arguments_arrives(
    executor: Executor, patience: float
) -> None:
    error = executor.submit(tasks.fail_pickily).exception(patience)
    assert isinstance(error, tasks.PickyError)
    assert (str(error), error.what, error.where) == ("itch at 7", "itch", 7)


def test_the_cause_of_an_exception_arrives(executor: Executor, patience: float) -> None:
    error = executor.submit(tasks.fail_with_a_cause).exception(patience)
    assert error is not None
    assert isinstance(error.__cause__, KeyError)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes are new in Python 3.11")
def test_the_notes_of_an_exception_arrive(executor: Executor, patience: float) -> None:
    error: Any = executor.submit(tasks.fail_with_a_note, "by the way").exception(patience)
    assert error.__notes__ == ["by the way"]


def test_a_report_of_an_exception_shows_where_it_was_raised(
    executor: Executor, patience: float
) -> None:
    error = executor.submit(tasks.fail, "oops").exception(patience)
    assert error is not None
    report = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert "raise ValueError(text)" in report


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ((tasks.exit_by_exception, 3), SystemExit),
        ((tasks.interrupt,), KeyboardInterrupt),
    ],
)
def test_an_exception_that_ends_programs_ends_only_its_task(
    executor: Executor, patience: float, task: tuple[Any, ...], kind: type[BaseException]
) -> None:
    assert isinstance(executor.submit(*task).exception(patience), kind)
    assert _still_works(executor, patience)


@pytest.mark.parametrize("task", [tasks.fail_stubbornly, tasks.fail_with_a_trap])
def test_an_exception_that_cannot_travel_arrives_as_text(
    executor: Executor, patience: float, task: Callable[[], Any]
) -> None:
    error = executor.submit(task).exception(patience)
    assert error is not None
    assert "stubborn as a mule" in str(error) or "trapped" in str(error)
    assert _still_works(executor, patience)


@pytest.mark.parametrize("make", [tasks.make_lock, tasks.make_trap])
def test_a_result_that_cannot_travel_fails_its_own_task(
    executor: Executor, patience: float, make: Callable[[], Any]
) -> None:
    future = executor.submit(make)
    if capabilities.BY_REFERENCE in executor.context.capabilities:
        assert type(future.result(patience)) is type(make())
    else:
        assert isinstance(future.exception(patience), TypeError | ValueError | PolyexecError)
    assert _still_works(executor, patience)


@pytest.mark.parametrize("make", [tasks.make_lock, tasks.make_trap])
def test_an_argument_that_cannot_travel_fails_its_own_task(
    executor: Executor, patience: float, make: Callable[[], Any]
) -> None:
    future = executor.submit(tasks.identity, make())
    if capabilities.BY_REFERENCE in executor.context.capabilities:
        assert type(future.result(patience)) is type(make())
    else:
        assert isinstance(future.exception(patience), TypeError | ValueError | PolyexecError)
    assert _still_works(executor, patience)


def test_one_failure_among_many_tasks_is_the_only_one(executor: Executor, patience: float) -> None:
    futures = [executor.submit(tasks.fail_on, 17, number) for number in range(50)]
    failed = [n for n, future in enumerate(futures) if future.exception(patience) is not None]
    assert failed == [17]
