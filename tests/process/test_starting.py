"""What comes in between as an executor starts: a handler, a hook, a shortage, somebody's end."""

from __future__ import annotations

import errno
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import PATIENCE, await_that
from process.programs import LOCAL

if sys.platform != "win32":
    from polyexec_process._reactor import Reactor

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyexec import Context
    from process.programs import Runner


def failing_once(call: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    """Return what raises *error* at its first call, and does as *call* after that."""
    errors = [error]

    def called(*args: Any) -> Any:
        if errors:
            raise errors.pop()
        return call(*args)

    return called


@pytest.mark.parametrize("method", LOCAL)
def test_a_shutdown_by_a_handler_waits_for_nothing_that_it_interrupts(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor: Any = context.Executor(2)
    staff = executor._pool._staff
    start = staff._make_births

    def start_interrupted(*args: Any) -> Any:
        executor.shutdown()  # as a signal's handler would just then
        return start(*args)

    monkeypatch.setattr(staff, "_make_births", start_interrupted)
    executor.start_workers()
    executor._pool.join()
    assert not executor.workers()


@pytest.mark.parametrize("method", LOCAL)
def test_a_handlers_job_ends_though_what_it_interrupts_fails(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor: Any = context.Executor(2)
    staff = executor._pool._staff
    futures: list[Any] = []
    fail = failing_once(staff._make_births, OSError(errno.EAGAIN, "no more processes"))

    def fail_interrupted(*args: Any) -> Any:
        if not futures:
            futures.append(executor.submit(int))
        return fail(*args)

    monkeypatch.setattr(staff, "_make_births", fail_interrupted)
    assert isinstance(executor.submit(int).exception(PATIENCE), OSError)
    assert futures[0].result(PATIENCE) == 0
    executor.shutdown()


@pytest.mark.parametrize("where", ["watch", "bear"])
@pytest.mark.parametrize("method", LOCAL)
def test_what_raises_as_a_worker_is_asked_for_leaves_nothing_half_done(
    context: Context, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    executor: Any = context.Executor(1)
    staff = executor._pool._staff
    watch, make = Reactor.watch, staff._make_births
    error = ArithmeticError("a handler's")

    def make_births(*args: Any) -> Any:
        births = make(*args)
        if where == "watch":
            monkeypatch.setattr(Reactor, "watch", failing_once(watch, error))
        else:
            births.bear = failing_once(births.bear, error)
        return births

    monkeypatch.setattr(staff, "_make_births", make_births)
    assert executor.submit(abs, -1).exception(PATIENCE) is error
    monkeypatch.undo()
    assert [executor.submit(abs, -1).result(PATIENCE) for _ in range(3)] == [1, 1, 1]
    executor.shutdown()


@pytest.mark.parametrize("method", LOCAL)
@pytest.mark.parametrize("all_of_them", [True, False])
def test_a_hook_may_ask_for_the_workers(
    context: Context, monkeypatch: pytest.MonkeyPatch, *, all_of_them: bool
) -> None:
    executor: Any = context.Executor(3)
    seen: list[int] = []
    monkeypatch.setattr(
        executor._crew, "worker_started", lambda _: seen.append(len(executor.workers()))
    )
    if all_of_them:
        executor.start_workers()
    assert executor.submit(int).result(PATIENCE) == 0
    await_that(lambda: bool(seen))
    executor.shutdown()


def test_workers_that_are_put_off_are_no_more_than_there_may_be() -> None:
    executor: Any = polyexec.get_context("fork").Executor(4)
    executor.submit(int)
    executor._pool.resize(1)
    assert executor._pool._staff.due is None
    assert len(executor.workers()) == 1
    executor.shutdown()


@pytest.mark.parametrize("method", LOCAL)
def test_what_comes_after_all_was_killed_ends(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor: Any = context.Executor(1)
    executor.submit(int).result(PATIENCE)
    crew = executor._crew
    make = crew.make_job

    def make_late(task: Any) -> None:
        make(task)
        executor.kill_workers()  # as another thread, or a handler, would
        executor._pool.join()

    monkeypatch.setattr(crew, "make_job", make_late)
    assert executor.submit(int).cancelled()
    executor.shutdown()


SHORT = """
import os
import resource
import sys
import polyexec

context = polyexec.get_context(sys.argv[1])
with context.Executor(1) as executor:
    executor.submit(int).result()
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
held = []
try:
    while True:
        held.append(os.dup(0))
except OSError:
    pass
for fd in [held.pop() for _ in range(int(sys.argv[2]))]:
    os.close(fd)
executor = context.Executor(1)
assert isinstance(executor.submit(abs, -1).exception(), OSError)
for fd in held:
    os.close(fd)
print(executor.submit(abs, -2).result())
executor.shutdown()
"""


@pytest.mark.parametrize("left", [1, 5, 6, 7, 8])
@pytest.mark.parametrize("method", LOCAL)
def test_an_executor_that_lacked_descriptors_is_as_others_once_there_are_some(
    method: str, program: Runner, left: int
) -> None:
    done = program.run(sys.executable, program.write(SHORT), method, str(left))
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


def test_the_workers_of_a_parent_are_none_of_its_childs() -> None:
    executor: Any = polyexec.get_context("fork").Executor(3)
    executor.submit(int)
    deadline = time.monotonic() + PATIENCE
    pid = os.fork()
    if not pid:
        os._exit(len(executor.workers()))
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        assert time.monotonic() < deadline
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    executor.shutdown()
