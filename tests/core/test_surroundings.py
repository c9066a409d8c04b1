"""Log records, warning filters, context variables: to bytes and back, and who handles records."""

from __future__ import annotations

import contextvars
import enum
import logging
import pickle
import sys
import threading
import types
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import PATIENCE
from polyexec.serialization import dumps, loads
from polyexec.serialization.variables import find_variable, places_of
from polyexec.surroundings import Handling, dumps_record, handle_record
from polyexec.testing import tasks as kit_tasks

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "polyexec.test.records"


class Loud(enum.IntEnum):
    """Levels with names, as people define them."""

    LOUD = 35


class Mute:
    """An object that has no text."""

    lock: Any = None

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __str__(self) -> str:
        return "a mute"


def sent(caplog: pytest.LogCaptureFixture, *args: Any, **extra: Any) -> logging.LogRecord:
    """Return a record as it is handled after its way through bytes."""
    level, message, *rest = args
    record = logging.getLogger(NAME).makeRecord(
        NAME, level, "file", 1, message, tuple(rest), None, extra=extra
    )
    handle_record(dumps_record(record))
    return caplog.records[-1]


def test_a_record_keeps_all_that_can_be_pickled(caplog: pytest.LogCaptureFixture) -> None:
    record = sent(caplog, logging.WARNING, "told %s of %d", {1, 2}, 3, places=[4])
    assert (record.msg, record.args) == ("told %s of %d", ({1, 2}, 3))
    assert record.__dict__["places"] == [4]
    assert record.getMessage() == "told {1, 2} of 3"


def test_a_record_of_what_can_not_be_pickled_is_text(caplog: pytest.LogCaptureFixture) -> None:
    record = sent(caplog, logging.WARNING, "told %s", Mute(), mute=Mute())
    assert record.getMessage() == "told a mute"
    assert "Mute object" in record.__dict__["mute"]


def test_a_message_that_is_an_object_arrives(caplog: pytest.LogCaptureFixture) -> None:
    assert sent(caplog, logging.WARNING, ValueError("dark")).getMessage() == "dark"


def test_a_level_of_a_class_of_its_own_arrives(caplog: pytest.LogCaptureFixture) -> None:
    assert sent(caplog, Loud.LOUD, "it").levelno == 35


def test_a_handler_that_fails_is_reported_and_hurts_nobody(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> bool:
        raise SystemExit("in a filter")

    monkeypatch.setattr(logging.getLogger(NAME), "filters", [fail])
    record = logging.makeLogRecord({"name": NAME, "levelno": logging.ERROR, "msg": "it"})
    handle_record(dumps_record(record))
    assert "SystemExit: in a filter" in capfd.readouterr().err


# -- the thread that handles ---------------------------------------------------------------------


def test_calls_run_in_order_on_one_thread() -> None:
    handling = Handling()
    ran: list[tuple[int, threading.Thread]] = []
    for number in range(100):
        handling.put(lambda number=number: ran.append((number, threading.current_thread())))  # type: ignore[misc]  # it has a default
    handling.join()
    assert [number for number, _ in ran] == list(range(100))
    assert threading.current_thread() not in {thread for _, thread in ran}


def test_a_stuck_call_is_waited_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyexec.surroundings.handling.PATIENCE", 0.01)
    handling = Handling()
    released = threading.Event()
    handling.put(lambda: released.wait(PATIENCE))
    handling.join()
    assert handling.stuck
    released.set()


def test_a_call_that_raises_hurts_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    handling = Handling()
    ran: list[int] = []
    handling.put(lambda: kit_tasks.fail("broken"))
    handling.put(lambda: ran.append(1))
    handling.join()
    assert ran == [1]
    assert "ValueError: broken" in capfd.readouterr().err


def test_a_call_may_join() -> None:
    handling = Handling()
    handling.put(handling.join)
    handling.join()


def test_calls_run_where_no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    ran: list[int] = []
    Handling().put(lambda: ran.append(1))
    assert ran == [1]


# -- context variables -----------------------------------------------------------------------------


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Callable[..., types.ModuleType]:
    """Return a function that makes a loaded module with the given variables."""

    def make(name: str, **variables: Any) -> types.ModuleType:
        module = types.ModuleType(name)
        module.__dict__.update(variables)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return make


def test_a_variable_of_a_module_is_pickled_as_a_reference() -> None:
    assert loads(dumps(kit_tasks.tenant)) is kit_tasks.tenant


def test_a_variable_that_is_in_no_module_is_unpicklable() -> None:
    local: contextvars.ContextVar[int] = contextvars.ContextVar("local")
    with pytest.raises(polyexec.UnpicklableError, match="cannot pickle"):
        dumps(local)


def test_a_variable_is_found_wherever_a_module_still_has_it(
    made: Callable[..., types.ModuleType],
) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")
    first = made("polyexec_test_first", variable=variable)
    made("polyexec_test_second", other=variable)
    assert set(places_of(variable)) == {
        ("polyexec_test_first", "variable"),
        ("polyexec_test_second", "other"),
    }
    data = dumps(variable)
    del first.__dict__["variable"]
    assert loads(data) is variable
    assert places_of(variable) == (("polyexec_test_second", "other"),)


def test_a_variable_that_no_module_has_here_is_an_error_that_says_so() -> None:
    with pytest.raises(polyexec.UnpicklableError, match="'tenant' is in none of"):
        find_variable((("polyexec.testing.nothing", "tenant"),), "tenant", None)


def test_records_are_plain_pickles(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, NAME):
        logging.getLogger(NAME).warning("told %s", "it")
    plain, rich, error = pickle.loads(dumps_record(caplog.records[0]))
    assert plain["args"] == ("it",)
    assert (rich, error) == ({}, None)
