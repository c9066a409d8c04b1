"""How executors, their workers and whole programs end."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import weakref
from typing import TYPE_CHECKING

import loky_tasks
import pytest

import polyexec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polyexec_loky._executor import LokyExecutor

    Make = Callable[..., LokyExecutor]

SETUP = """
import os, signal, sys, time, polyexec
# A job started with `&` or nohup inherits SIGINT ignored; tests send SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
executor = polyexec.get_context("loky").Executor(2)

def say_and_sleep():
    print("begun", flush=True)
    time.sleep(600)

"""


def program(code: str) -> subprocess.Popen[str]:
    """Start a program that has an executor, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", SETUP + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_shutdown_leaves_no_process(make: Make) -> None:
    executor = make(2)
    list(executor.map(abs, range(4), chunksize=1))
    executor.shutdown()
    assert not multiprocessing.active_children()


def test_shutdown_after_a_death_leaves_no_process(make: Make) -> None:
    executor = make(2)
    executor.submit(loky_tasks.die).exception()
    executor.shutdown()
    assert not multiprocessing.active_children()


def test_shutdown_waits_for_no_worker_that_died_with_a_task_half_sent(make: Make) -> None:
    executor = make()
    pid = executor.submit(os.getpid).result()
    os.kill(pid, signal.SIGSTOP)
    executor.submit(len, bytes(8 << 20))
    os.kill(pid, signal.SIGKILL)
    executor.shutdown()
    assert not multiprocessing.active_children()


def test_nothing_is_kept_of_a_dead_worker(make: Make) -> None:
    executor = make()
    executor.submit(abs, -1).result()
    gone = weakref.ref(next(iter(executor._crew._workers)))
    gc.disable()  # it would release in time what must be released at once
    try:
        executor.submit(loky_tasks.die).exception()
        executor.shutdown()
        assert gone() is None
    finally:
        gc.enable()


def test_workers_leave_by_their_own_will(make: Make) -> None:
    executor = make()
    executor.submit(abs, -1).result()
    (worker,) = executor._crew._workers
    executor.shutdown()
    assert worker.exitcode() == 0


def test_shutdown_can_be_waited_for_later(make: Make) -> None:
    executor = make()
    future = executor.submit(abs, -1)
    executor.shutdown(wait=False)
    executor.shutdown(wait=True)
    assert future.result() == 1
    assert not multiprocessing.active_children()


def test_an_executor_that_is_dropped_is_collected_and_its_workers_end() -> None:
    executor = polyexec.get_context("loky").Executor(2)
    executor.submit(abs, -1).result()
    (worker,) = executor._crew._workers  # type: ignore[attr-defined]  # it is a LokyExecutor
    gone = weakref.ref(executor)
    del executor
    worker.join()
    assert gone() is None
    assert worker.exitcode() == 0


def test_accepted_tasks_are_finished_at_exit(tmp_path: Path) -> None:
    marks = [tmp_path / str(number) for number in range(3)]
    with program(f"for mark in {[str(mark) for mark in marks]}: executor.submit(os.mkdir, mark)"):
        pass
    assert all(mark.exists() for mark in marks)


def test_a_pool_that_is_not_closed_does_not_hold_up_the_exit() -> None:
    code = "pool = executor.context.Pool(1); pool.apply_async(say_and_sleep); input()"
    with program(code) as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.communicate("\n")
    assert running.returncode == 0


@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_ctrl_c_ends_a_program_that_waits_for_a_task(send: Callable[[int, int], None]) -> None:
    with program("executor.submit(say_and_sleep).result()") as running:
        assert running.stdout is not None
        running.stdout.readline()
        send(running.pid, signal.SIGINT)
        _, errors = running.communicate()
    assert errors.count("Traceback") == 1
    assert running.returncode == -signal.SIGINT


def test_a_busy_worker_does_not_survive_its_parent() -> None:
    with program("executor.submit(say_and_sleep).result()") as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.kill()
        assert running.stdout.read() == ""  # which ends when nobody is left who could write


def test_a_forked_copy_leaves_the_workers_alone() -> None:
    code = """
executor.submit(abs, -1).result()
child = os.fork()
if child == 0:
    executor.shutdown()
    os._exit(0)
os.waitpid(child, 0)
print(executor.submit(abs, -2).result())
"""
    with program(code) as running:
        output, _ = running.communicate()
    assert output == "2\n"
