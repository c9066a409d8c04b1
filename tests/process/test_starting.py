"""What comes in between as an executor starts: a handler, a hook, a shortage, somebody's end."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from core.fakes import PATIENCE, await_that, ends
from process.programs import LOCAL

if sys.platform != "win32":
    from polyexec_process._births import Births
    from polyexec_process._reactor import OVER, Reactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


@pytest.fixture
def executor(context: Context) -> Iterator[Any]:
    """Return an executor of three workers that has not started any."""
    with context.Executor(3) as executor:
        yield executor


def interrupted(executor: Any, where: str, act: Callable[[], object]) -> Callable[..., Any]:
    """Return what the executor's staff has *where*, as if a signal's handler did *act* there."""
    go_on = getattr(executor._pool._staff, where)
    acts = [act]

    def called(*args: Any) -> Any:
        if acts:
            acts.pop()()
        return go_on(*args)

    return called


@pytest.mark.parametrize("method", LOCAL)
def test_a_shutdown_by_a_handler_waits_for_nothing_that_it_interrupts(
    executor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = interrupted(executor, "_make_births", executor.shutdown)
    monkeypatch.setattr(executor._pool._staff, "_make_births", start)
    executor.start_workers()
    executor._pool.join()
    assert not executor.workers()


@pytest.mark.parametrize("where", ["_make_births", "_prepare", "_open_link"])
@pytest.mark.parametrize("method", LOCAL)
def test_what_is_submitted_while_the_same_thread_starts_workers_starts_no_others(
    executor: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    futures: list[Any] = []
    start = interrupted(executor, where, lambda: futures.append(executor.submit(int)))
    monkeypatch.setattr(executor._pool._staff, where, start)
    futures.append(executor.submit(int))
    assert [future.result(PATIENCE) for future in futures] == [0, 0]
    assert len(executor._processes) <= 3


@pytest.mark.parametrize("method", LOCAL)
def test_a_handlers_job_ends_though_what_it_interrupts_fails(
    executor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    staff = executor._pool._staff
    error = OSError(errno.EAGAIN, "no more processes")
    futures: list[Any] = []
    monkeypatch.setattr(staff, "_make_births", failing_once(staff._make_births, error))
    start = interrupted(executor, "_make_births", lambda: futures.append(executor.submit(int)))
    monkeypatch.setattr(staff, "_make_births", start)
    assert executor.submit(int).exception(PATIENCE) is error
    assert futures[0].result(PATIENCE) == 0


@pytest.mark.parametrize("where", ["watch", "bear"])
@pytest.mark.parametrize("method", LOCAL)
def test_what_raises_as_a_worker_is_asked_for_leaves_nothing_half_done(
    executor: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
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


@pytest.mark.parametrize("method", LOCAL)
def test_a_thread_that_was_started_stays_though_a_handler_raised_then(
    executor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start
    errors = [ArithmeticError("a handler's")]

    def started(thread: threading.Thread) -> None:
        start(thread)
        if errors:
            raise errors.pop()

    monkeypatch.setattr(threading.Thread, "start", started)
    assert isinstance(executor.submit(abs, -1).exception(PATIENCE), ArithmeticError)
    assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_a_reactors_thread_that_is_not_wanted_any_more_takes_no_turn() -> None:
    turns: list[int] = []

    def turn() -> float:
        turns.append(1)
        return OVER

    reactor = Reactor()
    reactor._turn = turn
    thread = threading.Thread(target=reactor._run)  # which was to be `reactor.thread`
    thread.start()
    thread.join(PATIENCE)
    assert turns == []


@pytest.mark.parametrize("method", LOCAL)
def test_a_nursery_that_was_killed_is_known_not_to_be_there(method: str) -> None:
    births = Births(method, None, {}, [], 1)
    assert births.is_there
    os.kill(births.pid, signal.SIGKILL)
    await_that(lambda: not births.is_there)
    births.close()


@pytest.mark.parametrize("method", LOCAL)
def test_a_nursery_waits_for_as_long_as_it_takes_whatever_the_default_of_sockets(
    method: str,
) -> None:
    socket.setdefaulttimeout(0.05)
    try:
        births = Births(method, None, {}, [], 1)
    finally:
        socket.setdefaulttimeout(None)
    assert select.select([births.sock], [], [], 0.5)[0] == []  # else it has ended
    assert births.is_there
    births.close()


@pytest.mark.parametrize("method", LOCAL)
@pytest.mark.parametrize("all_of_them", [True, False])
def test_a_hook_may_ask_for_the_workers(
    executor: Any, monkeypatch: pytest.MonkeyPatch, *, all_of_them: bool
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(
        executor._crew, "worker_started", lambda _: seen.append(len(executor.workers()))
    )
    if all_of_them:
        executor.start_workers()
    assert executor.submit(int).result(PATIENCE) == 0
    await_that(lambda: bool(seen))


@pytest.mark.parametrize("method", ["fork"])
def test_workers_that_are_put_off_are_no_more_than_there_may_be(executor: Any) -> None:
    executor.submit(int)
    executor._pool.resize(1)
    assert executor._pool._staff.due is None
    assert len(executor.workers()) == 1


@pytest.mark.parametrize("method", LOCAL)
def test_what_comes_after_all_was_killed_ends(
    executor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor.submit(int).result(PATIENCE)
    crew = executor._crew
    make = crew.make_job

    def make_late(task: Any) -> None:
        make(task)
        executor.kill_workers()  # as another thread, or a handler, would
        executor._pool.join()

    monkeypatch.setattr(crew, "make_job", make_late)
    assert executor.submit(int).cancelled()


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


@pytest.mark.parametrize("method", ["fork"])
def test_the_workers_of_a_parent_are_none_of_its_childs(executor: Any) -> None:
    executor.submit(int)
    pid = os.fork()
    if not pid:
        found = -1
        try:
            found = len(executor.workers())
        finally:
            os._exit(found)
    status = ends(os.waitpid, pid, 0)[1]
    assert os.waitstatus_to_exitcode(status) == 0
