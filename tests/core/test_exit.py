"""The interpreter's exit, and Ctrl-C."""

from __future__ import annotations

import concurrent.futures
import signal
import textwrap
import threading
from typing import Any

import pytest

from core.fakes import (
    PATIENCE,
    THREAD,
    interrupt,
    python,
    thread_executor,
)


def test_unfinished_tasks_and_unread_maps_are_finished_at_exit() -> None:
    code = """
        executor = ctx.Executor(2)
        for number in range(3):
            executor.submit(lambda n: (time.sleep(0.02), sys.stdout.write(f"{n} ")), number)
        unread = executor.map(lambda n: sys.stdout.write(f"{n} "), range(100, 200))
    """
    done = python(THREAD + textwrap.dedent(code))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(map(int, done.stdout.split())) == [0, 1, 2, *range(100, 200)]


def test_callbacks_run_at_exit() -> None:
    code = """
        executor = ctx.Executor(1)
        executor.submit(time.sleep, 0.05).add_done_callback(lambda _: print("called"))
    """
    done = python(THREAD + textwrap.dedent(code))
    assert (done.stdout, done.stderr) == ("called\n", "")


def test_workers_that_are_replaced_finish_their_tasks_at_exit() -> None:
    code = """
        executor = ctx.Executor(1, max_tasks_per_child=1)
        for number in range(4):
            executor.submit(lambda n: (time.sleep(0.02), print(n, end="")), number)
    """
    assert python(THREAD + textwrap.dedent(code)).stdout == "0123"


def test_a_worker_that_cannot_be_replaced_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = thread_executor(max_tasks_per_child=1)
    executor.submit(int).result(PATIENCE)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        held = threading.Event()
        first = executor.submit(held.wait, PATIENCE)
        while not first.running():
            pass
        futures = [executor.submit(int) for _ in range(3)]
        patch.setattr(threading.Thread, "start", refuse)
        held.set()
        assert all(_result_or_none(future) == 0 for future in futures)


def _result_or_none(future: Any) -> Any:
    try:
        return future.result(3)
    except concurrent.futures.TimeoutError:
        return None


def test_a_submit_after_the_end_of_the_main_program_is_refused() -> None:
    code = """
        import atexit
        def late():
            try:
                ctx.Executor(1).submit(int)
            except RuntimeError as error:
                print(error)
        atexit.register(late)
    """
    done = python(THREAD + textwrap.dedent(code))
    assert "interpreter shutdown" in done.stdout


def test_a_dropped_executor_does_not_disturb_the_exit() -> None:
    code = """
        for _ in range(20):
            ctx.Executor(2).submit(int)
        keep = ctx.Executor(2)
        keep.submit(int).result()
    """
    done = python(THREAD + textwrap.dedent(code))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_is_stuck_in_its_input_does_not_hold_up_an_interrupted_exit() -> None:
    code = """
        executor = ctx.Executor(1)
        pulling = threading.Event()
        def inputs():
            yield 1
            pulling.set()
            time.sleep(60)
        target = lambda: list(executor.map(abs, inputs()))
        threading.Thread(target=target, daemon=True).start()
        pulling.wait(5)
        print("ready", flush=True)
        time.sleep(60)
    """
    seconds, _, errors = interrupt(code)
    assert seconds < 3
    assert errors.count("Traceback") == 1


_BUSY = """
    def task():
        print("ready", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize(
    "body",
    [
        "with ctx.Executor(1) as executor:\n        executor.submit(task).result()",
        "with ctx.Executor(1) as executor:\n        executor.submit(task)",
        "executor = ctx.Executor(1)\n    executor.submit(task).result()",
        "executor = ctx.Executor(1)\n    executor.submit(task)\n    executor.shutdown()",
        "executor = ctx.Executor(1)\n    executor.submit(task)",
        "executor = ctx.Executor(2)\n    list(executor.map(lambda _: task(), range(100)))",
        "with ctx.Executor(1).options(name='x') as view:\n        view.submit(task).result()",
        "with ctx.Pool(1) as pool:\n        pool.apply(task)",
        "with ctx.Pool(1) as pool:\n        pool.map(lambda _: task(), range(9))",
        "pool = ctx.Pool(1)\n    pool.apply_async(task)\n    pool.close()\n    pool.join()",
        "process = ctx.Process(target=task)\n    process.start()\n    process.join()",
    ],
    ids=[
        "with-result",
        "with-exit",
        "result",
        "shutdown",
        "exit",
        "map",
        "view",
        "pool-apply",
        "pool-map",
        "pool-join",
        "process",
    ],
)
def test_ctrl_c_ends_the_program_at_once_with_one_traceback(body: str) -> None:
    seconds, code, errors = interrupt(f"{_BUSY}\n    {body}")
    assert seconds < 3
    assert errors.count("Traceback") == 1
    assert errors.rstrip().splitlines()[-1].startswith("KeyboardInterrupt")
    assert code in {-signal.SIGINT, 1, 0}


def test_ctrl_c_ends_the_program_at_once_even_if_its_handling_fails() -> None:
    code = """
        def task():
            print("ready", flush=True)
            time.sleep(60)
        executor = ctx.Executor(1)
        try:
            executor.submit(task).result()
        finally:
            raise RuntimeError("cannot release un-acquired lock")  # as a Condition does at times
    """
    seconds, _, errors = interrupt(code)
    assert seconds < 3
    assert "KeyboardInterrupt" in errors


def test_ctrl_c_in_asyncio_ends_the_program_at_once() -> None:
    code = """
        import asyncio
        def task():
            print("ready", flush=True)
            time.sleep(60)
        async def main():
            # asyncio.run() alone misses a signal that comes as the loop is about to wait.
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, int)
            with ctx.Executor(1) as executor:
                await executor.submit(task)
        asyncio.run(main())
    """
    seconds, _, errors = interrupt(code)
    assert seconds < 3
    assert "KeyboardInterrupt" in errors
