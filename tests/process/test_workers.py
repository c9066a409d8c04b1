"""How workers are born, what they are told, and how they end."""

from __future__ import annotations

import errno
import gc
import math
import os
import signal
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
import tasks
from core.fakes import PATIENCE, await_that, python
from polyexec._map import AHEAD
from polyexec.cpus import usable_cpus
from polyexec.testing import tasks as kit_tasks
from process.programs import LOCAL

if sys.platform != "win32":
    from polyexec_process import _births, _overseer, _staff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polyexec import Context
    from polyexec.testing._gate import Gate


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give idle workers of a terminated pool all the time that they need."""
    monkeypatch.setattr("polyexec_process._executor._GRACE", PATIENCE)


def test_a_worker_that_was_stopped_while_idle_delays_a_task_with_a_timeout(
    context: Context,
) -> None:
    with context.Executor(1) as executor:
        pid = executor.submit(os.getpid).result(PATIENCE)
        os.kill(pid, signal.SIGSTOP)
        future = executor.options(timeout=0.1).submit(os.getpid)
        assert future.result(3 * PATIENCE) != pid
        assert future.attempts == 1


@pytest.mark.parametrize("method", LOCAL)
def test_a_task_is_timed_though_idle_workers_are_watched(context: Context, gate: Gate) -> None:
    executor: Any = context.Executor(1, idle_timeout=10 * PATIENCE)
    with executor:
        executor.submit(int).result(PATIENCE)
        await_that(lambda: executor._pool.reactor.resting)
        future = executor.options(timeout=0.1).submit(kit_tasks.pass_gate, gate.address)
        with pytest.raises(polyexec.TaskTimeoutError):
            future.result(PATIENCE)


def test_environment_variables_are_the_workers(context: Context) -> None:
    with context.Executor(1, env={"POLYEXEC_TEST": "told"}) as executor:
        assert executor.submit(os.getenv, "POLYEXEC_TEST").result(PATIENCE) == "told"
    assert os.getenv("POLYEXEC_TEST") is None


def test_blas_threads_are_capped_unless_the_user_has_a_say(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    with context.Executor(4 * usable_cpus()) as executor:
        assert executor.submit(os.getenv, "OMP_NUM_THREADS").result(PATIENCE) == "1"
        assert executor.submit(os.getenv, "MKL_NUM_THREADS").result(PATIENCE) == "7"


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_fresh_worker_imports_nothing_that_takes_long(method: str) -> None:
    bare = set(python("import sys; print(*sys.modules)").stdout.split())
    lines = (
        f"with polyexec.get_context({method!r}).Executor(1) as executor:",
        "    list(executor.map(abs, range(4), chunksize=2))",
        "    names = executor.submit(eval, '[*__import__(\"sys\").modules]').result()",
        "print(*names)",
    )
    imported = set(python("import polyexec\n" + "\n".join(lines)).stdout.split()) - bare
    assert "polyexec_process._worker" in imported
    heavy = {"inspect", "pathlib", "pluggy", "importlib.metadata", "cloudpickle", "asyncio", "zmq"}
    heavy |= {"typing", "multiprocessing.resource_tracker"}
    assert not heavy & imported


def test_a_function_that_was_inherited_needs_no_cloudpickle() -> None:
    code = """
        import functools
        import sys
        import polyexec

        ADDED = 1

        def add(number):
            return number + ADDED, "cloudpickle" in sys.modules

        def work(number):
            return add(number)

        with polyexec.get_context("fork").Executor(1) as executor:
            print(executor.submit(work, 1).result(), *executor.map(work, [2, 3]))
            print(executor.submit(functools.partial(work, 4)).result(), *map(work, [4]))
            ADDED = 10
            print(executor.submit(work, 1).result(), *executor.map(work, [2]))
    """
    assert python(code).stdout.splitlines() == [
        "(2, False) (3, False) (4, False)",
        "(5, False) (5, False)",
        "(11, True) (12, True)",
    ]


@pytest.mark.parametrize("mark", ["_own_memory", "_SamePid"])
def test_a_worker_knows_itself_from_its_children(mark: str) -> None:
    code = f"""
        import os
        from polyexec_process import _worker

        mine = _worker.{mark}()
        pid = os.fork()
        if not pid:
            os._exit(bool(mine[0]))
        print(bool(mine[0]), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    assert python(code).stdout == "True 0\n"


def test_the_first_spawned_worker_is_no_other_than_those_after_it() -> None:
    with polyexec.get_context("spawn").Executor(1, max_tasks_per_child=1) as executor:
        first, second = (executor.submit(tasks.interpreter).result(PATIENCE) for _ in range(2))
    assert first == second


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc")
@pytest.mark.parametrize("method", LOCAL)
def test_nothing_of_a_worker_takes_the_place_of_a_closed_stream(
    method: str, tmp_path: Path
) -> None:
    code = f"""
        import os
        import polyexec

        def streams():
            return [os.readlink(f"/proc/self/fd/{{fd}}") for fd in range(3)]

        os.closerange(0, 3)
        with polyexec.get_context({method!r}).Executor(1, max_tasks_per_child=1) as executor:
            found = [executor.submit(streams).result() for _ in range(2)]
        with open({str(tmp_path / "found")!r}, "w") as file:
            print(found, file=file)
    """
    python(code)
    assert (tmp_path / "found").read_text() == f"{[['/dev/null'] * 3] * 2}\n"


@pytest.mark.parametrize("method", LOCAL)
@pytest.mark.parametrize("lacking", ["process", "thread"])
def test_an_executor_that_cannot_be_started_is_with_a_later_task(
    context: Context, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 3

    def failing(start: Callable[..., Any], name: str = "") -> Callable[..., Any]:
        def started(*args: Any, **options: Any) -> Any:
            nonlocal failures
            if failures and (not name or args[0].name == name):
                failures -= 1
                raise OSError(errno.EAGAIN, "no more of them")
            return start(*args, **options)

        return started

    if lacking == "process":
        monkeypatch.setattr(_births, "_quiet_fork", failing(_births._quiet_fork))
        monkeypatch.setattr(os, "posix_spawn", failing(os.posix_spawn))
    else:
        start = failing(threading.Thread.start, "polyexec-reactor")
        monkeypatch.setattr(threading.Thread, "start", start)
    gc.collect()
    before = _descriptors()
    with context.Executor(2) as executor:
        for _ in range(failures):
            assert "no more of them" in str(executor.submit(os.getpid).exception(PATIENCE))
        assert executor.submit(os.getpid).result(PATIENCE) != os.getpid()
    assert not failures
    del executor  # whose traceback has what was made for the worker
    gc.collect()
    assert _descriptors() == before


def test_workers_without_work_are_there_soon_or_as_somebody_asks() -> None:
    context = polyexec.get_context("fork")
    executor: Any
    with context.Executor(3) as executor:
        executor.submit(int).result(PATIENCE)
        await_that(lambda: len(executor._pool.links) == 3)
    with context.Executor(3) as executor:
        executor.submit(int)
        assert len(executor._processes) == len(executor.workers()) == 3


@pytest.mark.parametrize("method", LOCAL)
def test_no_job_is_left_to_a_worker_that_may_never_be(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who submits something meanwhile would, without waiting for the lock, and wait for ever.
    executor: Any = context.Executor(1)
    known: list[int] = []

    def fail(*_: Any, **__: Any) -> Any:
        known.append(len(executor._pool.links))
        raise OSError(errno.EAGAIN, "no more of them")

    with monkeypatch.context() as patch:
        patch.setattr(_births, "_quiet_fork", fail)
        patch.setattr(os, "posix_spawn", fail)
        assert "no more of them" in str(executor.submit(os.getpid).exception(PATIENCE))
    assert known == [0]
    executor.shutdown()


def test_a_task_that_leaves_no_descriptor_fails_by_its_own_error(context: Context) -> None:
    with context.Executor(1) as executor:
        error = executor.submit(tasks.open_all).exception(PATIENCE)
        assert isinstance(error, OSError)
        assert "in open_all" in str(error.__cause__)
        assert executor.submit(len, "abc").result(PATIENCE) == 3


def test_forked_workers_have_no_descriptors_but_their_own() -> None:
    code = """
        import os
        import polyexec

        def count():
            return len(os.listdir("/dev/fd"))

        with polyexec.get_context("fork").Executor(1, max_tasks_per_child=1) as executor:
            print(count(), *(executor.submit(count).result() for _ in range(2)))
    """
    program, first, second = map(int, python(code).stdout.split())
    # Pipes for jobs and answers, the page, the dump, two sockets.
    assert first - program <= 6
    assert first == second


def test_no_worker_is_forked_from_an_interpreter_that_has_begun_threads(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n",
        encoding="utf-8",
    )
    code = """
        import threading
        import polyexec

        with polyexec.get_context("spawn").Executor(1) as executor:
            print(executor.submit(threading.active_count).result())
    """
    ended = python(code, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert ended.stdout == "2\n", ended.stderr


@pytest.mark.parametrize("method", LOCAL)
def test_while_its_first_result_is_awaited_a_map_pulls_a_bounded_distance(context: Context) -> None:
    pulled = 0

    def inputs() -> Iterator[float]:
        nonlocal pulled
        for number in range(50_000):
            pulled += 1
            yield 0.0 if number else 0.5

    with context.Executor(2) as executor, executor.map(time.sleep, inputs()) as results:
        next(results)
        assert pulled <= 1 + 2 * AHEAD


@pytest.mark.parametrize("method", LOCAL)
def test_many_workers_are_not_asked_for_at_once(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    heard: list[str] = []
    under_way: list[int] = []
    bear, hear = _births.Births.bear, _births.Births.hear

    def note_bear(births: _births.Births, worker: _births.NewWorker) -> None:
        asked.append(worker[0])
        under_way.append(len(asked) - heard.count("born"))
        bear(births, worker)

    def note_hear(births: _births.Births) -> tuple[Any, ...] | None:
        message = hear(births)
        heard.append("gone" if message is None else message[0])
        return message

    monkeypatch.setattr(_births.Births, "bear", note_bear)
    monkeypatch.setattr(_births.Births, "hear", note_hear)
    monkeypatch.setattr(_staff, "UNDER_WAY", 2)
    executor: Any = context.Executor(5)
    executor.start_workers()
    await_that(lambda: len(executor._processes) == 5)
    assert max(under_way) <= 2
    executor.shutdown()


@pytest.mark.parametrize("seconds", [30 * 24 * 3600, 1e300, math.inf])
def test_a_worker_may_be_idle_for_as_long_as_one_likes(context: Context, seconds: float) -> None:
    with context.Executor(1, idle_timeout=seconds) as executor:
        pid = executor.submit(os.getpid).result(PATIENCE)
        assert executor.submit(os.getpid).result(PATIENCE) == pid


@pytest.mark.parametrize("method", LOCAL)
def test_an_idle_worker_ends_and_another_takes_its_place(context: Context) -> None:
    executor: Any = context.Executor(1, idle_timeout=0.05)
    with executor:
        executor.submit(int).result(PATIENCE)
        (worker,) = executor._processes.values()
        worker.join(PATIENCE)
        assert worker.exitcode == 0
        assert executor.submit(os.getpid).result(PATIENCE) != worker.pid


@pytest.mark.parametrize(
    "options",
    [{"idle_timeout": 0.05}, {"max_tasks_per_child": 1}, {"max_memory_per_child": 1}],
    ids=str,
)
@pytest.mark.parametrize("method", LOCAL)
def test_a_worker_that_is_to_end_and_does_not_is_replaced(
    context: Context, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(_overseer, "GRACE", 0.01)
    monkeypatch.setattr(_overseer, "LAST", 1000.0)
    executor: Any = context.Executor(1, **options)
    pid = executor.submit(tasks.leave_unending, "a thread").result(PATIENCE)
    await_that(lambda: executor.workers()[0]["state"] == "leaving")
    worker = executor._processes[pid]
    assert executor.submit(os.getpid).result(PATIENCE) != pid
    assert worker.is_alive()
    worker.kill()
    worker.join(PATIENCE)
    executor.shutdown()
    assert executor._pool.most == 1


@pytest.mark.parametrize("what", ["a thread", "a process", "an exit hook"])
@pytest.mark.parametrize("method", LOCAL)
def test_a_worker_that_is_to_end_and_never_would_is_killed(
    context: Context, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    executor: Any = context.Executor(1)
    monkeypatch.setattr(_overseer, "GRACE", 0.01)
    monkeypatch.setattr(_overseer, "LAST", 0.02)
    pid = executor.submit(tasks.leave_unending, what).result(PATIENCE)
    worker = executor._processes[pid]
    executor._pool.resize(0)
    worker.join(PATIENCE)
    assert worker.exitcode == -signal.SIGKILL
    executor.shutdown()


def test_a_worker_that_grew_too_large_is_replaced(context: Context) -> None:
    with context.Executor(1, max_memory_per_child=1) as executor:
        futures = [executor.submit(os.getpid) for _ in range(3)]
        assert len({future.result(PATIENCE) for future in futures}) > 1


def test_workers_tell_what_they_do(context: Context) -> None:
    executor: Any = context.Executor(1)
    with executor:
        pid = executor.submit(os.getpid).result(PATIENCE)
        (worker,) = executor.workers()
    assert (worker["pid"], worker["state"], worker["task"]) == (pid, "idle", None)
    assert worker["tasks_done"] == 1
    assert worker["memory"] > 1 << 20


def test_an_executor_that_is_to_break_breaks_as_a_whole(context: Context) -> None:
    executor = context.Executor(1, on_worker_lost="break")
    with executor:
        first = executor.submit(kit_tasks.die, 1)
        with pytest.raises(polyexec.BrokenExecutor):
            first.result(PATIENCE)
        with pytest.raises(polyexec.BrokenExecutor):
            executor.submit(int)


def test_an_executor_whose_workers_can_not_start_says_so(context: Context) -> None:
    with context.Executor(1, initializer=os._exit, initargs=(5,)) as executor:
        error = executor.submit(int).exception(PATIENCE)
    assert isinstance(error, polyexec.BrokenExecutor)
    assert "exited with code 5" in str(error)


def test_without_the_process_that_starts_workers_the_executor_is_broken(context: Context) -> None:
    executor: Any = context.Executor(1)
    with executor:
        parent = executor.submit(os.getppid).result(PATIENCE)
        running = executor.submit(signal.pause)
        assert parent != os.getpid()
        os.kill(parent, signal.SIGKILL)
        assert isinstance(running.exception(PATIENCE), polyexec.BrokenExecutor)
        with pytest.raises(polyexec.BrokenExecutor):
            executor.submit(int).result(PATIENCE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"idle_timeout": -1}, "idle_timeout must be greater than 0"),
        ({"idle_timeout": "1"}, "idle_timeout must be a number"),
        ({"idle_timeout": math.nan}, "idle_timeout must be greater than 0"),
        ({"env": {"A": 1}}, "env must map strings to strings"),
        ({"env": {"A=B": "1"}}, "env can't set 'A=B'"),
        ({"env": {"": "1"}}, "env can't set ''"),
        ({"env": {"A\0": "1"}}, "env can't set 'A"),
        ({"env": {"A": "1\0"}}, "env can't set 'A'"),
        ({"env": {"A": "\ud800"}}, "env can't set 'A'"),
        ({"on_worker_lost": "panic"}, "on_worker_lost must be"),
        ({"max_memory_per_child": 0}, "max_memory_per_child"),
        ({"initargs": 3}, "initargs must be a tuple"),
        ({"max_task_per_child": 3}, "max_tasks_per_child"),
    ],
)
def test_a_wrong_option_is_refused(context: Context, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        context.Executor(1, **options)


@pytest.mark.parametrize("method", LOCAL)
def test_an_initializer_may_be_given_locks_and_queues(context: Context) -> None:
    queue = context.Queue()
    with context.Executor(2, initializer=tasks.keep, initargs=(queue,)) as executor:
        executor.submit(tasks.put_in_kept, "item").result(PATIENCE)
        assert queue.get(timeout=PATIENCE) == "item"
    queue.close()
    queue.join_thread()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("method", LOCAL)
def test_what_an_idle_worker_has_still_to_write_arrives_though_its_pool_is_terminated(
    context: Context, gate: Gate
) -> None:
    queue = context.Queue()
    with context.Pool(2, tasks.keep, (queue,)) as pool:
        result = pool.apply_async(kit_tasks.pass_gate, (gate.address,))
        gate.await_arrivals(1)
        pool.apply(tasks.put_late_in_kept, (gate.address,))
        gate.await_arrivals(2)
    with pytest.raises(CancelledError):  # its worker was killed by then
        result.get(PATIENCE)
    gate.open()
    assert queue.get(timeout=PATIENCE) == "item"
    pool.join()
    queue.close()
    queue.join_thread()


@pytest.mark.parametrize("method", LOCAL)
def test_a_queue_that_nobody_reads_holds_up_no_pool_that_is_terminated(context: Context) -> None:
    queue = context.Queue()
    with context.Pool(1, tasks.keep, (queue,)) as pool:
        pool.apply(tasks.put_in_kept, (b"x" * (1 << 20),))
    pool.join()
    queue.close()
    queue.join_thread()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("method", LOCAL)
def test_a_worker_of_a_terminated_pool_starts_in_peace_and_begins_nothing(
    context: Context, gate: Gate
) -> None:
    with context.Pool(1, kit_tasks.pass_gate, (gate.address,)) as pool:
        result = pool.apply_async(kit_tasks.pass_gate, (gate.address,))
        gate.await_arrivals(1)
        (worker,) = pool._pool
    gate.open()
    pool.join()
    assert worker.exitcode == 0
    assert len(gate.arrived) == 1
    with pytest.raises(CancelledError):
        result.get(PATIENCE)


@pytest.mark.parametrize("method", LOCAL)
def test_an_executor_that_a_global_leads_to_is_collected_when_it_is_dropped(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    main: Any = sys.modules["__main__"]
    executor = context.Executor(1)
    monkeypatch.setattr(main, "_polyexec_test", {"executor": executor}, raising=False)
    assert executor.submit(abs, -1).result(PATIENCE) == 1
    dropped = weakref.ref(executor)
    del executor
    monkeypatch.undo()
    gc.collect()
    assert dropped() is None


def _descriptors() -> int:
    return len([*Path("/dev/fd").iterdir()])
