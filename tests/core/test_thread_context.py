"""The thread context as a whole: shared memory, managers, its names, and how programs end."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.managers
import subprocess
import sys
import textwrap
import time
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING, Any

import pytest

from core.fakes import PATIENCE, THREAD, python, run
from polyexec import capabilities

if TYPE_CHECKING:
    import threading


def test_values_and_arrays_are_shared_under_a_lock(ctx: Any) -> None:
    value, array = ctx.Value("i", 3), ctx.Array("d", [1, 2])

    def child() -> None:
        for _ in range(1000):
            with value.get_lock():
                value.value += 1
        array[0] = 7

    processes = [ctx.Process(target=child) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert (value.value, array[:]) == (3003, [7.0, 2.0])


def test_raw_ones_have_no_lock_and_a_given_lock_is_used(ctx: Any) -> None:
    assert not hasattr(ctx.RawValue("i", 1), "get_lock")
    assert ctx.RawArray("i", 3)[:] == [0, 0, 0]
    lock = ctx.Lock()
    assert ctx.Value("i", 1, lock=lock).get_lock() is lock
    assert not hasattr(ctx.Value("i", 1, lock=False), "get_lock")
    with pytest.raises(AttributeError):
        ctx.Value("i", 1, lock="navalue")


def test_a_manager_makes_everything(ctx: Any) -> None:
    with ctx.Manager() as manager:
        shared, mapping, space = manager.list([1]), manager.dict(a=1), manager.Namespace(x=1)
        value, array, channel = manager.Value("i", 5), manager.Array("i", [1]), manager.Queue()

        def child() -> None:
            shared.append(2)
            mapping["b"] = 2
            space.y = 3
            value.value = 6
            array[0] = 9
            channel.put(1)

        assert run(ctx, child).exitcode == 0
        assert (list(shared), dict(mapping), space.y) == ([1, 2], {"a": 1, "b": 2}, 3)
        assert (value.value, array[0], channel.get()) == (6, 9, 1)
        for kind in ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"):
            with getattr(manager, kind)():
                pass
        manager.Event().set()
        assert manager.Barrier(1).wait() == 0
        with manager.Pool(1) as pool:
            assert pool.map(abs, [-1]) == [1]


def test_the_context_has_the_whole_api_of_multiprocessings(ctx: Any) -> None:
    names = {name for name in dir(multiprocessing.get_context()) if not name.startswith("_")}
    assert {name for name in names if not hasattr(ctx, name)} == set()
    assert isinstance(ctx, BaseContext)


def test_the_context_knows_itself(ctx: Any) -> None:
    assert ctx.get_context() is ctx
    assert ctx.get_context("thread").name == ctx.get_start_method() == "thread"
    with pytest.raises(ValueError, match="cannot set start method"):
        ctx.set_start_method("thread")
    assert ctx.cpu_count() >= 1
    with ctx as entered:
        assert entered is ctx
    assert "thread" in repr(ctx)


def test_every_capability_has_a_meaning(ctx: Any) -> None:
    assert ctx.capabilities <= set(capabilities.MEANINGS)


def test_a_daemon_does_not_hold_up_the_exit() -> None:
    code = """
        process = ctx.Process(target=time.sleep, args=(60,), daemon=True)
        process.start()
        print("end")
    """
    done = python(THREAD + textwrap.dedent(code))
    assert (done.stdout, done.stderr, done.returncode) == ("end\n", "", 0)


def test_a_process_that_is_no_daemon_is_waited_for_at_exit() -> None:
    code = """
        ctx.Process(target=lambda: (time.sleep(0.1), print("ran"))).start()
    """
    done = python(THREAD + textwrap.dedent(code))
    assert (done.stdout, done.stderr, done.returncode) == ("ran\n", "", 0)


_EVERYTHING = """
    import multiprocessing.connection
    def fail(): raise ValueError
    reader, writer = ctx.Pipe(duplex=False)
    def child(end, queue):
        queue.put(1)
        end.send(2)
    queue = ctx.Queue()
    process = ctx.Process(target=child, args=(writer, queue))
    process.start()
    writer.close()
    process.join()
    failing = ctx.Process(target=fail)
    failing.start()
    failing.join()
    queue.close()
    queue.join_thread()
    with ctx.Executor(2) as executor, ctx.Pool(2) as pool:
        good = (
            list(executor.map(abs, range(100))) == [*range(100)]
            and pool.map(abs, [-1]) == [1]
            and executor.submit(fail).exception() is not None
            and reader.recv() == 2
            and failing.exitcode == 1
            and bool(multiprocessing.connection.wait([process.sentinel], 1))
        )
    os._exit(7 if good else 1)
"""


@pytest.mark.parametrize("options", [["-O"], ["-OO"], ["-B", "-W", "error"]], ids=str)
def test_everything_works_with_the_options_of_python(options: list[str]) -> None:
    done = python(THREAD + textwrap.dedent(_EVERYTHING), *options)
    assert done.returncode == 7, done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_everything_works_with_closed_streams(closed: str) -> None:
    code = THREAD + textwrap.dedent(_EVERYTHING)
    command = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code]
    assert subprocess.run(command, timeout=20, check=False).returncode == 7


def _with_few_descriptors(code: str) -> subprocess.CompletedProcess[bytes]:
    command = ["sh", "-c", 'ulimit -n 256; exec "$0" -c "$1"', sys.executable, THREAD + code]
    return subprocess.run(command, timeout=30, check=False, capture_output=True)


def test_everything_works_with_few_descriptors() -> None:
    many = """
    for _ in range(400):
        process = ctx.Process(target=int)
        process.start()
        process.join()
        left, right = ctx.Pipe()
        left.fileno(), right.fileno()
    """
    done = _with_few_descriptors(textwrap.dedent(many) + textwrap.dedent(_EVERYTHING))
    assert done.returncode == 7, done.stderr


def test_many_live_processes_fit_few_descriptors_or_say_why_not() -> None:
    code = """
        gate = threading.Event()
        started = []
        try:
            for _ in range(300):
                process = ctx.Process(target=gate.wait)
                process.start()
                started.append(process)
        except OSError as error:
            print(error.errno)
        gate.set()
        for process in started:
            process.join()
    """
    done = _with_few_descriptors(textwrap.dedent(code))
    assert (done.returncode, done.stderr) == (0, b"")


def test_logging_and_support_calls_do_no_harm(ctx: Any) -> None:
    assert ctx.get_logger().name == "multiprocessing"
    ctx.freeze_support()
    ctx.allow_connection_pickling()
    ctx.set_executable(sys.executable)
    ctx.set_forkserver_preload([])


def test_a_process_in_a_task_and_a_task_in_a_process(ctx: Any) -> None:
    def child(results: Any) -> None:
        with ctx.Executor(1) as executor:
            results.put(executor.submit(int, "3").result(PATIENCE))

    results = ctx.Queue()
    with ctx.Executor(1) as executor:
        executor.submit(run, ctx, child, results).result(PATIENCE)
    assert results.get(timeout=PATIENCE) == 3


def test_time_spent_joining_with_a_timeout_is_bounded(ctx: Any, gate: threading.Event) -> None:
    process = ctx.Process(target=gate.wait, args=(PATIENCE,))
    process.start()
    begin = time.monotonic()
    process.join(0.05)
    assert time.monotonic() - begin < 5
    assert process.exitcode is None
    gate.set()
    process.join(PATIENCE)
