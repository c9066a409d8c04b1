"""Exceptions as bytes, and as themselves again."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
import tasks
from core.fakes import ends
from polyexec.serialization import dumps_exception, loads_exception

if TYPE_CHECKING:
    from collections.abc import Callable

    Far = Callable[..., Any]


def _there_and_back(error: BaseException) -> BaseException:
    return loads_exception(dumps_exception(error))


def _chain(length: int) -> BaseException:
    error: BaseException = ValueError(0)
    for number in range(1, length):
        following = ValueError(number)
        following.__cause__ = error
        error = following
    return error


def test_an_exception_arrives_as_itself_with_the_remote_traceback(far: Far) -> None:
    error = far(tasks.fail_with, ValueError("mine", 3)).exception(0)
    assert (type(error), error.args) == (ValueError, ("mine", 3))
    report = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert "in fail_with" in report
    assert report.rstrip().endswith("ValueError: ('mine', 3)")


def test_an_exception_with_an_init_of_its_own_arrives_as_itself(far: Far) -> None:
    error = far(tasks.fail_as, "PickyError").exception(0)
    assert type(error) is tasks.PickyError
    assert (error.what, error.where, error.why) == ("disk", 7, "full")
    assert str(error) == "disk 7 is full"


def test_an_exception_that_needs_two_arguments_arrives_as_itself() -> None:
    error = _there_and_back(tasks.NeedyError("disk", 7))
    assert type(error) is tasks.NeedyError
    assert (str(error), error.where) == ("disk at 7", 7)


def test_an_exception_that_holds_what_will_not_pickle_still_arrives(far: Far) -> None:
    error = far(tasks.fail_as, "StubbornError").exception(0)
    assert isinstance(error, (tasks.StubbornError, polyexec.RemoteError))
    assert "stubborn" in str(error)


@pytest.mark.parametrize("kind", ["TrapError", "ExitingError", "SpeechlessError"])
def test_an_exception_that_will_not_travel_still_arrives(far: Far, kind: str) -> None:
    error = far(tasks.fail_as, kind).exception(0)
    assert kind in f"{type(error).__name__} {error.args}"


def test_an_exception_that_holds_an_object_without_a_text_of_its_own_arrives_as_itself() -> None:
    error = _there_and_back(ValueError(tasks.Plain()))
    assert type(error) is ValueError
    assert type(error.args[0]) is tasks.Plain


def test_a_falsy_exception_arrives_as_itself(far: Far) -> None:
    assert type(far(tasks.fail_as, "FalsyError").exception(0)) is tasks.FalsyError


def test_cause_and_context_travel(far: Far) -> None:
    error = far(tasks.fail_from, "PlainError", "PickyError").exception(0)
    assert (type(error), type(error.__cause__)) == (tasks.PlainError, tasks.PickyError)
    error = far(tasks.fail_within, "PlainError", "PickyError").exception(0)
    assert type(error.__context__) is tasks.PickyError
    assert not error.__suppress_context__


def test_a_cause_that_will_not_travel_spoils_nothing(far: Far) -> None:
    error = far(tasks.fail_from, "PlainError", "TrapError").exception(0)
    assert type(error) is tasks.PlainError
    assert "TrapError" in f"{type(error.__cause__).__name__} {error.__cause__}"


def test_a_suppressed_context_stays_suppressed() -> None:
    error = ValueError("outer")
    error.__context__ = KeyError("inner")
    error.__suppress_context__ = True
    assert _there_and_back(error).__suppress_context__


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes are of 3.11")
def test_notes_travel() -> None:
    error: Any = ValueError("mine")
    error.add_note("a note")
    assert getattr(_there_and_back(error), "__notes__", None) == ["a note"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups are of 3.11")
@pytest.mark.parametrize("member", ["PickyError", "StubbornError", "TrapError", "ExitingError"])
def test_a_group_arrives_whatever_is_in_it(member: str) -> None:
    group = importlib.import_module("builtins").ExceptionGroup
    kind: Any = getattr(tasks, member)
    error = _there_and_back(group("several", [ValueError(1), kind()]))
    assert "several" in str(error)
    if member == "PickyError":
        assert type(error) is group
        assert [type(one) for one in error.exceptions] == [ValueError, tasks.PickyError]  # type: ignore[attr-defined]  # a group's


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups are of 3.11")
def test_the_members_of_a_group_travel_as_they_would_alone() -> None:
    group = importlib.import_module("builtins").ExceptionGroup
    reason = KeyError("reason")
    member = tasks.KeywordError(code=3)
    member.__cause__ = reason
    error: Any = _there_and_back(group("outer", [member, group("inner", [reason])]))
    assert (type(error), error.message) == (group, "outer")
    alone, inner = error.exceptions
    assert (type(alone), alone.code) == (tasks.KeywordError, 3)
    assert (type(inner), inner.exceptions) == (group, (alone.__cause__,))


@pytest.mark.parametrize("kind", ["UndecidedError", "OddCauseError"])
def test_an_exception_whose_class_confuses_reports_arrives_as_itself(far: Far, kind: str) -> None:
    error = far(tasks.fail_from, kind, kind).exception(0)
    assert type(error) is getattr(tasks, kind)
    report = vars(BaseException)["__cause__"].__get__(error)
    while not isinstance(report, polyexec.RemoteTraceback):
        report = vars(BaseException)["__cause__"].__get__(report)
    assert "in fail_from" in str(report)


def test_an_exception_that_is_its_own_cause_arrives() -> None:
    error = ValueError("mine")
    error.__cause__ = error
    copy = ends(_there_and_back, error)
    assert type(copy) is ValueError
    ends("".join, traceback.format_exception(type(copy), copy, None))


def test_a_web_of_causes_and_contexts_arrives_soon() -> None:
    web = [ValueError(number) for number in range(3)]
    for place, error in enumerate(web):
        error.__cause__ = web[place - 1]
        error.__context__ = web[place - 2]
    copy = ends(_there_and_back, web[0], seconds=5)
    assert (type(copy), copy.args) == (ValueError, (0,))


def test_a_ladder_of_retries_takes_no_exponential_time() -> None:
    last: BaseException = ValueError("first")
    for number in range(40):
        handled = KeyError(number)
        handled.__context__ = last
        following = ValueError(number)
        following.__cause__, following.__context__ = last, handled
        last = following
    assert len(ends(dumps_exception, last, seconds=5)) < 1_000_000


def test_a_long_chain_arrives_with_the_report_of_all_of_it() -> None:
    error = ends(_there_and_back, _chain(1000))
    assert error.args == (999,)
    assert isinstance(error.__cause__, ValueError)
    report = "".join(traceback.format_exception(type(error), error, None))
    assert report.count("ValueError: 0\n") == 1


def test_the_remote_traceback_can_be_of_another_class() -> None:
    error = loads_exception(dumps_exception(ValueError(1)), lambda text: KeyError(text[:9]))
    assert type(error.__cause__) is KeyError


def test_loading_an_exception_never_changes_the_one_that_was_dumped() -> None:
    error = ValueError("mine")
    error.__cause__ = KeyError("cause")
    _there_and_back(error)
    assert error.__cause__.__cause__ is None


@pytest.mark.parametrize(
    "error",
    [
        polyexec.WorkerLostError("gone", pid=3, exitcode=-9, host="b", attempts=2, dump="d"),
        polyexec.NotSupportedError("no", capability="process", alternatives=["spawn"]),
        polyexec.TaskTimeoutError("late"),
        polyexec.UnpicklableError("no"),
        polyexec.InitializerError("no"),
        OSError(2, "No such file", "name"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
        KeyError("k"),
        ValueError(float("inf")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_known_errors_keep_what_they_know(error: Exception) -> None:
    copy = _there_and_back(error)
    assert (type(copy), vars(copy)) == (type(error), vars(error))
    assert str(copy) == str(error)
