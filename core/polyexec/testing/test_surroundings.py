"""What surrounds a task goes along: context variables, logging, filters, the default context."""

from __future__ import annotations

import contextvars
import logging
import os
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from polyexec import Context, Executor, WorkerLostError
from polyexec.capabilities import ISOLATION, PROPAGATE, SURROUNDINGS
from polyexec.testing import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOGGER = "polyexec.testing.surroundings"


@pytest.fixture
def tenant() -> Iterator[contextvars.ContextVar[str]]:
    """Give the tasks' context variable a value, for one test."""
    token = tasks.tenant.set("ours")
    yield tasks.tenant
    tasks.tenant.reset(token)


@pytest.fixture
def chosen() -> Iterator[str]:
    """Choose a default context, for one test."""
    before = polyexec.get_start_method(allow_none=True)
    polyexec.set_start_method("thread", force=True)
    yield "thread"
    polyexec.set_start_method(before, force=True)


@pytest.mark.needs(SURROUNDINGS)
def test_a_workers_default_context_is_the_submitters(
    context: Context, patience: float, chosen: str
) -> None:
    with context.Executor(1) as executor:
        assert executor.submit(polyexec.get_start_method).result(patience) == chosen


@pytest.mark.needs(PROPAGATE)
def test_a_named_context_variable_has_its_submitters_value(
    context: Context, patience: float, tenant: contextvars.ContextVar[str]
) -> None:
    with context.Executor(1, propagate=(tenant,)) as executor:
        first = executor.submit(tasks.read_tenant)
        other = contextvars.copy_context()
        other.run(tenant.set, "theirs")
        second = other.run(executor.submit, tasks.read_tenant)
        third = executor.submit(tasks.read_tenant)
        values = [future.result(patience) for future in (first, second, third)]
    assert values == ["ours", "theirs", "ours"]


@pytest.mark.needs(PROPAGATE)
def test_a_named_context_variable_that_is_not_set_is_not_set_in_the_task(
    context: Context, patience: float, tenant: contextvars.ContextVar[str]
) -> None:
    with context.Executor(1, propagate=(tenant,)) as executor:
        assert executor.submit(tasks.read_tenant).result(patience) == "ours"
        future = contextvars.Context().run(executor.submit, tasks.read_tenant)
        assert future.result(patience) == "nobody"


@pytest.mark.needs(PROPAGATE)
def test_what_a_task_sets_leaks_into_no_other(
    context: Context, patience: float, tenant: contextvars.ContextVar[str]
) -> None:
    with context.Executor(1, propagate=(tenant,)) as executor:
        for name in ("first", "second"):
            assert executor.submit(tasks.take_over, name).result(patience) == "ours"


@pytest.mark.needs(PROPAGATE)
def test_map_carries_context_variables(
    context: Context, patiently: Callable[..., Any], tenant: contextvars.ContextVar[str]
) -> None:
    with context.Executor(2, propagate=[tenant]) as executor:
        assert patiently(list, executor.map(tasks.read_tenant, range(5))) == ["ours"] * 5


@pytest.mark.needs(PROPAGATE)
def test_what_is_no_variable_of_a_module_is_refused(context: Context) -> None:
    with pytest.raises(TypeError, match="propagate"):
        context.Executor(1, propagate=("tenant",))
    local: contextvars.ContextVar[int] = contextvars.ContextVar("local")
    with pytest.raises(ValueError, match="'local', which is not a variable of a module"):
        context.Executor(1, propagate=(local,))


@pytest.mark.needs(SURROUNDINGS)
def test_what_a_task_logs_is_handled_in_order_before_it_ends(
    executor: Executor, patience: float, caplog: pytest.LogCaptureFixture
) -> None:
    executor.submit(tasks.log, LOGGER, logging.WARNING, *range(50)).result(patience)
    assert caplog.messages == [f"told {number}" for number in range(50)]
    assert {record.name for record in caplog.records} == {LOGGER}


@pytest.mark.needs(SURROUNDINGS)
def test_the_submitters_levels_hold_for_what_tasks_log(
    context: Context, patience: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    with context.Executor(1) as executor:
        executor.submit(tasks.log, LOGGER, logging.DEBUG, "no").result(patience)
        executor.submit(tasks.log, LOGGER, logging.INFO, "yes").result(patience)
        caplog.set_level(logging.ERROR, LOGGER)
        executor.submit(tasks.log, LOGGER, logging.INFO, "not any more").result(patience)
    assert caplog.messages == ["told yes"]


@pytest.mark.needs(SURROUNDINGS)
def test_a_logged_exception_is_logged_as_itself(
    executor: Executor, patience: float, caplog: pytest.LogCaptureFixture
) -> None:
    executor.submit(tasks.log_error, LOGGER, "dark").result(patience)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert "ValueError: dark" in caplog.text
    assert "in log_error" in caplog.text


@pytest.mark.needs(SURROUNDINGS, ISOLATION)
def test_what_a_dead_worker_has_logged_is_handled(
    executor: Executor, patience: float, caplog: pytest.LogCaptureFixture
) -> None:
    error = executor.submit(tasks.log_and_die, LOGGER, *range(20)).exception(patience)
    assert isinstance(error, WorkerLostError)
    told = [record.getMessage() for record in caplog.records if record.process != os.getpid()]
    assert told == [f"told {number}" for number in range(20)]


@pytest.mark.needs(SURROUNDINGS)
def test_warning_filters_hold_in_tasks(context: Context, patience: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with context.Executor(1) as executor:
            error = executor.submit(tasks.warn, "beware").exception(patience)
    assert isinstance(error, UserWarning)
