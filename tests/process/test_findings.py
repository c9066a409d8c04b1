"""Faults that were found by looking for them, each kept from coming back."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import time
import weakref
from collections import deque
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
import tasks
from core.fakes import PATIENCE, await_that, ends
from process.programs import LOCAL

if sys.platform != "win32":
    from polyexec_process._frames import BEGUN, BEGUN_AT

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyexec import Context
    from process.programs import Runner


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Return what a task can read once somebody writes, and the other way round."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


CLOSED = """
import sys
import polyexec


def work(number):
    print("nobody reads this")
    return number


if __name__ == "__main__":
    with polyexec.get_context(sys.argv[1]).Executor(2) as executor:
        results = list(executor.map(work, range(4)))
    with open(sys.argv[2], "w") as file:
        file.write(repr(results))
"""


def first_of(blob: bytes) -> Callable[[], int]:
    def first() -> int:
        return blob[0]

    return first


def test_a_child_that_a_task_forked_never_answers_for_it(context: Context) -> None:
    with context.Executor(1) as executor:
        first = executor.submit(tasks.leave_a_child_behind)
        others = [executor.submit(tasks.double, number) for number in range(5)]
        assert first.result(PATIENCE) == "parent"
        assert [other.result(PATIENCE) for other in others] == [0, 2, 4, 6, 8]


def test_workers_that_never_get_ready_are_not_started_for_ever(context: Context) -> None:
    with context.Executor(
        1, max_tasks_per_child=1, initializer=os._exit, initargs=(3,)
    ) as executor:
        error = executor.submit(int).exception(PATIENCE)
    assert isinstance(error, polyexec.BrokenExecutor)


def test_an_error_that_cannot_say_what_it_is_hurts_its_own_task_only(context: Context) -> None:
    with context.Executor(1) as executor:
        error = executor.submit(tasks.make, "MuteTrap").exception(PATIENCE)
        assert isinstance(error, polyexec.UnpicklableError)
        assert executor.submit(tasks.double, 4).result(PATIENCE) == 8


def test_stopping_a_task_as_it_ends_is_no_loss(context: Context) -> None:
    with context.Executor(1, on_worker_lost="break") as executor:
        for number in range(40):
            future = executor.submit(time.sleep, 0.001 + number % 10 * 1e-4)
            time.sleep(0.001)  # time itself is the subject: to cancel just as it ends
            assert future.cancel(running=True) or future.result(PATIENCE) is None


def test_many_large_functions_at_once_are_all_known_to_the_worker(context: Context) -> None:
    blobs = [bytes([number]) * (4 << 20) for number in range(20)]
    with context.Executor(1) as executor:
        futures = [executor.submit(first_of(blobs[number % 20])) for number in range(60)]
        assert [future.result(6 * PATIENCE) for future in futures] == [n % 20 for n in range(60)]


def test_a_program_without_standard_streams_runs(tmp_path: Path, method: str) -> None:
    program, results = tmp_path / "program.py", tmp_path / "results"
    program.write_text(CLOSED, encoding="utf-8")
    subprocess.run(
        ["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", sys.executable, program, method, results],
        check=True,
        timeout=4 * PATIENCE,
    )
    assert results.read_text(encoding="utf-8") == "[0, 1, 2, 3]"


def test_a_result_that_is_slow_to_unpickle_holds_up_nobody_else(context: Context) -> None:
    with context.Executor(1) as executor:
        executor.submit(int).result(PATIENCE)
        slow: Any = executor.submit(tasks.Sleeper, PATIENCE / 4)
        begin = time.monotonic()
        assert executor.submit(tasks.double, 4).result(PATIENCE) == 8
        assert slow.done()
        assert time.monotonic() - begin < PATIENCE / 8
        assert slow.result(PATIENCE) == PATIENCE / 4


SCARCE = """
import os
import resource
import polyexec


def work(number):
    return number


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    context = polyexec.get_context(METHOD)
    with context.Executor(8) as executor:
        assert executor.submit(work, 1).result() == 1
        hoard = []
        try:
            while True:
                hoard.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        for fd in hoard[-2:]:
            os.close(fd)
        futures = [executor.submit(work, number) for number in range(500)]
        assert [future.result() for future in futures] == list(range(500))
        for fd in hoard[:-2]:
            os.close(fd)
    executors = [context.Executor(2) for _ in range(6)]
    for executor in executors:
        assert list(executor.map(work, range(10))) == list(range(10))
    print("fine")
"""


def test_a_program_that_runs_out_of_descriptors_goes_on(program: Runner) -> None:
    done = program.run(sys.executable, program.write(SCARCE))
    assert (done.stdout, done.stderr) == ("fine\n", "")


ORPHANS = """
import os
import polyexec


def work(number):
    return number


if __name__ == "__main__":
    executor = polyexec.get_context(METHOD).Executor(1)
    executor.submit(work, 1).result()
    for number in range(1000):
        executor.submit(work, number)
    os._exit(0)
"""


def test_workers_whose_program_left_at_once_say_nothing(program: Runner) -> None:
    done = program.run(sys.executable, program.write(ORPHANS))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("method", LOCAL)
def test_what_we_have_not_read_yet_is_no_reason_to_recall(context: Context) -> None:
    executor: Any = context.Executor(1)
    executor.submit(int).result(PATIENCE)
    pool = executor._pool
    recalled: list[Any] = []
    recall = pool.scheduler.recall

    def note(window: Any) -> None:
        recalled.append(window)
        recall(window)

    pool.scheduler.recall = note
    (link,) = pool.links.values()
    running = executor.submit(time.sleep, 2 * PATIENCE)
    with pool.lock:  # so that only we look
        waiting = executor.submit(int)
        pool.dispatch()
        assert len(link.window.entries) == 2
        await_that(lambda: link.last_begun + 2 == link.window.sent)
        link.window.progressed_at = 0.0
        link.words[BEGUN_AT] = time.monotonic_ns() + 10**12  # it has only just begun that
        pool.overseer.look()
        assert recalled == []
        link.words[BEGUN], link.words[BEGUN_AT] = link.window.sent - 1, 0  # it has done all
        pool.overseer.look()
        assert recalled == []
        link.words[BEGUN] = link.window.sent - 2
        pool.overseer.look()
        assert recalled == [link.window]
    assert running.cancel(running=True)
    assert waiting.result(PATIENCE) == 0
    executor.shutdown()


@pytest.mark.parametrize("method", LOCAL)
def test_a_worker_ends_though_something_else_holds_its_pipe_open(context: Context) -> None:
    executor: Any = context.Executor(1)
    executor.submit(int).result(PATIENCE)
    (link,) = executor._pool.links.values()
    held = os.dup(link.jobs)  # as a process would that is forked just then
    try:
        executor.shutdown()
    finally:
        os.close(held)
    assert link.exitcode == 0


class Counted:
    """Counts how often it is pickled; unpickles as a number."""

    count = 0

    def __reduce__(self) -> tuple[Any, ...]:
        self.count += 1
        return (int, (7,))


@pytest.mark.parametrize("how", ["by place", "by name", "bound"])
def test_a_call_is_pickled_once(context: Context, how: str) -> None:
    argument = Counted()
    with context.Executor(1) as executor:
        if how == "by place":
            future = executor.submit(tasks.double, [argument])
        elif how == "by name":
            future = executor.submit(tasks.double, value=[argument])
        else:
            future = executor.submit(partial(tasks.double, [argument]))
        assert future.result(PATIENCE) == [7, 7]
    assert argument.count == 1


TOO_FEW_DESCRIPTORS = """
import concurrent.futures
import resource
import polyexec

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
    with polyexec.get_context(METHOD).Executor(40, max_tasks_per_child=1) as executor:
        futures = [executor.submit(abs, number) for number in range(45)]
        print(len(concurrent.futures.wait(futures, timeout=50).done))
"""


@pytest.mark.parametrize("method", LOCAL)
def test_workers_that_could_not_be_had_are_started_later(program: Runner) -> None:
    done = program.run(sys.executable, program.write(TOO_FEW_DESCRIPTORS))
    assert (done.returncode, done.stdout, done.stderr) == (0, "45\n", "")


@pytest.mark.parametrize("method", LOCAL)
def test_a_task_that_comes_as_the_last_worker_ends_has_another(context: Context) -> None:
    executor: Any = context.Executor(1)
    pid = executor.submit(os.getpid).result(PATIENCE)
    pool = executor._pool

    class Incoming(deque[Any]):
        def append(self, job: Any) -> None:
            os.kill(pid, signal.SIGKILL)
            await_that(lambda: not pool.links)
            super().append(job)

    pool._incoming = Incoming()
    assert executor.submit(int).result(PATIENCE) == 0
    executor.shutdown()


@pytest.mark.parametrize("method", LOCAL)
def test_workers_that_die_as_they_start_cost_one_that_runs_nothing(
    context: Context, gate: Path, tmp_path: Path
) -> None:
    executor: Any = context.Executor(
        2, initializer=tasks.survive_first, initargs=(str(tmp_path / "first"),)
    )
    executor.submit(int).result(PATIENCE)
    futures = [executor.submit(Path.read_text, gate) for _ in range(2)]
    await_that(lambda: executor._pool._staff.miscarriages >= 3)
    ends(gate.write_text, "open")
    done, waiting = concurrent.futures.wait(futures, PATIENCE, "FIRST_COMPLETED")
    ends(gate.write_text, "again")
    assert [future.result(PATIENCE) for future in (*done, *waiting)] == ["open", "again"]
    executor.shutdown()


@pytest.mark.parametrize("method", LOCAL)
def test_what_a_leaving_worker_has_is_work_for_nobody_else(context: Context, gate: Path) -> None:
    executor: Any = context.Executor(4, max_tasks_per_child=1)
    pool = executor._pool
    pool._all_at_once = False
    future = executor.submit(Path.read_text, gate)
    with ends(gate.open, "w"), pool.lock:  # it has begun, and its worker runs no other
        assert [link.leaving for link in pool.links.values()] == [True]
        assert not pool._staff.is_short
    assert future.result(PATIENCE) == ""
    executor.shutdown()


@pytest.mark.parametrize("method", LOCAL)
def test_of_two_that_see_one_idle_worker_none_waits_for_the_other(
    context: Context, gate: Path
) -> None:
    executor: Any = context.Executor(2)
    pool = executor._pool
    pool._all_at_once = False
    executor.submit(int).result(PATIENCE)
    both: list[Any] = []

    class Incoming(deque[Any]):
        def append(self, job: Any) -> None:
            both.append(job)
            if len(both) == 2:  # each has looked before the other's job was there
                self.extend(both)

    pool._incoming = Incoming()
    writing = executor.submit(Path.write_text, gate, "met")
    reading = executor.submit(Path.read_text, gate)
    assert (reading.result(PATIENCE), writing.result(PATIENCE)) == ("met", 3)
    executor.shutdown()


@pytest.mark.parametrize("method", LOCAL)
def test_a_pool_that_grows_keeps_its_workers(context: Context) -> None:
    executor: Any = context.Executor(3)
    executor.start_workers()
    executor._pool.resize(4)
    assert [link.leaving for link in executor._pool.links.values()] == [False] * 3
    executor.shutdown()


@pytest.mark.parametrize("method", LOCAL)
def test_a_pool_that_can_have_no_workers_starts_no_more(context: Context) -> None:
    executor: Any = context.Executor(1, initializer=os._exit, initargs=(3,))
    error = executor.submit(int).exception(PATIENCE)
    assert isinstance(error, concurrent.futures.BrokenExecutor)
    assert executor._pool._staff.failing
    executor.shutdown()


@pytest.mark.parametrize("method", [*LOCAL, "zmq"])
def test_what_interrupts_the_holder_of_the_lock_waits_for_nothing(
    method: str, context: Context, gate: Path
) -> None:
    executor: Any = context.Executor(1)
    pool = executor._pool if method in LOCAL else executor._pool._first
    running, waiting = executor.submit(gate.read_bytes), executor.submit(int)
    await_that(running.running)
    with pool.lock:
        assert not waiting.cancel()
        assert not running.cancel(running=True)
        late = executor.submit(int)
        executor.start_workers()
        assert len(executor._processes) <= 1
    assert [future.result(PATIENCE) for future in (waiting, late)] == [0, 0]
    assert running.cancelled()
    executor.shutdown()


def test_a_task_that_leaves_its_group_is_stopped_all_the_same(context: Context) -> None:
    with context.Executor(1) as executor:
        future = executor.options(timeout=0.2).submit(tasks.leave_the_group)
        assert isinstance(future.exception(PATIENCE), polyexec.TaskTimeoutError)


STRAY = """
import os
import threading
import polyexec


def leave_the_group():
    os.setpgid(0, os.getpgid(os.getppid()))
    os.write(1, b"left")
    threading.Event().wait()


if __name__ == "__main__":
    reading, writing = os.pipe()
    os.dup2(writing, 1)
    executor = polyexec.get_context(METHOD).Executor(1)
    executor.submit(leave_the_group)
    assert os.read(reading, 4) == b"left"
    os._exit(0)
"""


@pytest.mark.parametrize("method", LOCAL)
def test_a_task_that_leaves_its_group_outlives_no_program(program: Runner) -> None:
    done = program.run(sys.executable, program.write(STRAY))
    assert (done.returncode, done.stderr) == (0, "")


# The last two are what lacking descriptors, and a nursery that is gone, raise as well.
@pytest.mark.parametrize("error", [ValueError, OSError, BrokenPipeError])
@pytest.mark.parametrize("method", ["spawn", "zmq"])
def test_what_is_submitted_as_no_worker_can_be_had_ends(
    context: Context, error: type[Exception]
) -> None:
    futures: list[Any] = []

    class Refusing:
        def __reduce__(self) -> Any:
            futures.append(executor.submit(int))
            raise error("no initializer")

    executor: Any = context.Executor(1, initializer=print, initargs=(Refusing(),))
    with suppress(error):
        futures.append(executor.submit(int))
    assert futures
    assert not concurrent.futures.wait(futures, PATIENCE).not_done
    executor.shutdown()


@pytest.mark.parametrize("method", LOCAL)
def test_an_executor_ends_whose_task_ran_out_of_time_as_somebody_stopped_it(
    context: Context, gate: Path
) -> None:
    def stop_late() -> weakref.ref[Any]:
        executor: Any = context.Executor(1)
        pool, future = executor._pool, executor.options(timeout=PATIENCE).submit(gate.read_bytes)
        await_that(lambda: any(link.running for link in pool.links.values()))
        with pool.lock:
            pool.overseer.kills[future._task] = True  # for its time is up
            pool.kill_soon(future._task)
        assert isinstance(future.exception(PATIENCE), polyexec.TaskTimeoutError)
        return weakref.ref(executor)

    dropped = stop_late()
    await_that(lambda: dropped() is None)


CHILD = """
import ctypes
import os
import polyexec

def fork():
    return bool(ctypes.PyDLL(None).fork())

with polyexec.get_context(METHOD).Executor(1) as executor:
    first = executor.submit(os.getpid).result()
    print(*(executor.submit(fork).result() for _ in range(3)))
    print(executor.submit(os.getpid).result() == first)
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="it is Linux that wipes memory as a child is forked"
)
def test_a_child_that_c_code_forked_answers_nothing(program: Runner) -> None:
    done = program.run(sys.executable, program.write(CHILD))
    assert (done.stdout, done.stderr) == ("True True True\nTrue\n", "")


IGNORED = """
import contextlib
import os
import signal
import polyexec
from polyexec_process._nursery import Nursery

watch = Nursery._watch

def watch_late(self):  # as on a busy machine, once the worker has died
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    watch(self)

def reap(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass

Nursery._watch = watch_late
for handler in (signal.SIG_IGN, reap):
    signal.signal(signal.SIGCHLD, handler)
    with polyexec.get_context("fork").Executor(1) as executor:
        print(executor.submit(os._exit, 7).exception().exitcode)
"""


@pytest.mark.parametrize("method", ["fork"])
def test_a_death_is_heard_of_though_the_program_waits_for_all_children(program: Runner) -> None:
    done = program.run(sys.executable, program.write(IGNORED))
    assert (done.stdout, done.stderr) == ("7\n7\n", "")


@pytest.mark.parametrize("method", LOCAL)
def test_a_task_is_not_stopped_by_a_reactor_that_has_failed(
    context: Context, gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor: Any = context.Executor(1)
    future = executor.submit(gate.read_bytes)
    await_that(future.running)
    pool, job = executor._pool, future._task
    outcome: list[Any] = []
    barren = pool.client.barren

    def tell(why: str) -> None:
        outcome.append(ends(pool.kill, job))
        barren(why)

    def fail() -> None:
        raise ZeroDivisionError("a defect of ours")

    monkeypatch.setattr(pool.client, "barren", tell)
    monkeypatch.setattr(pool.overseer, "look", fail)
    pool.reactor.wake()
    with pytest.raises(polyexec.BrokenExecutor, match="a defect of ours"):
        future.result(PATIENCE)
    assert outcome == [False]
    pool.abandon()  # what a reactor that fails leaves open
