"""Context variables that go along with tasks."""

from __future__ import annotations

import functools
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
import tasks
from core.fakes import PATIENCE
from polyexec.testing import tasks as kit_tasks

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from polyexec import Context
    from process.programs import Runner


@pytest.fixture
def tenant() -> Iterator[contextvars.ContextVar[Any]]:
    token = kit_tasks.tenant.set("ours")
    yield kit_tasks.tenant
    kit_tasks.tenant.reset(token)


def test_any_callable_sees_context_variables(
    context: Context, tenant: contextvars.ContextVar[Any]
) -> None:
    callables: list[Callable[[], str]] = [
        kit_tasks.read_tenant,
        functools.partial(kit_tasks.read_tenant, 1),
        lambda: kit_tasks.read_tenant(),  # noqa: PLW0108 - one that travels by value
        tasks.TenantReader().read,
        tasks.TenantReader(),
    ]
    with context.Executor(1, propagate=(tenant,)) as executor:
        futures = [executor.submit(each) for each in callables]
        assert [future.result(PATIENCE) for future in futures] == ["ours"] * 5


def test_a_task_that_is_run_again_sees_the_same_values(
    context: Context, tenant: contextvars.ContextVar[Any], tmp_path: Path
) -> None:
    with context.Executor(1, propagate=(tenant,)) as executor:
        future = executor.options(retries=1).submit(tasks.die_once, str(tmp_path / "died"))
        tenant.set("changed")
        assert future.result(PATIENCE) == "ours"


def test_a_value_that_can_not_be_pickled_fails_its_task_alone(
    context: Context, tenant: contextvars.ContextVar[Any]
) -> None:
    with context.Executor(1, propagate=(tenant,)) as executor:
        for value in (threading.Lock(), kit_tasks.Trap()):
            token = tenant.set(value)
            error = executor.submit(kit_tasks.read_tenant).exception(PATIENCE)
            assert isinstance(error, polyexec.UnpicklableError)
            assert "context variable 'tenant'" in str(error)
            tenant.reset(token)
        assert executor.submit(kit_tasks.read_tenant).result(PATIENCE) == "ours"


def test_an_executor_that_names_no_variables_carries_none(
    context: Context, tenant: contextvars.ContextVar[Any]
) -> None:
    with context.Executor(1) as executor:
        executor.submit(int).result(PATIENCE)
        tenant.set("later")
        assert executor.submit(kit_tasks.read_tenant).result(PATIENCE) != "later"


VARIABLES = """
import contextvars
import polyexec

plain = contextvars.ContextVar("the name is another")
fallback = contextvars.ContextVar("fallback", default=7)


def work():
    return plain.get("unset"), fallback.get()


if __name__ == "__main__":
    context = polyexec.get_context(METHOD)
    with context.Executor(1, propagate=(plain, fallback)) as executor:
        futures = [executor.submit(work)]
        plain.set("set")
        fallback.set(8)
        futures.append(executor.submit(work))
        futures.append(executor.submit(lambda: (plain.get(), fallback.get(), plain)))
        for future in futures[:2]:
            print(*future.result())
        print(futures[2].result()[2] is plain)
"""


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_context_variables_of_the_main_module_work_anywhere(program: Runner, how: str) -> None:
    if how == "file":
        done = program.run(sys.executable, program.write(VARIABLES))
    else:
        done = program.run(sys.executable, "-", input=program.source(VARIABLES))
    assert (done.stdout, done.stderr) == ("unset 7\nset 8\nTrue\n", "")
