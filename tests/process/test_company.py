"""Whole programs whose tasks, threads, event loops and signals meet in executors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from process.programs import Runner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def test_a_task_may_have_an_executor_of_its_own(program: Runner) -> None:
    source = """
import polyexec

def outer(number):
    with polyexec.get_context(METHOD).Executor(2) as executor:
        return sum(executor.map(inner, range(number)))

def inner(number):
    with polyexec.get_context("thread").Executor(2) as executor:
        return executor.submit(pow, number, 2).result()

if __name__ == "__main__":
    with polyexec.get_context(METHOD).Executor(2) as executor:
        print(list(executor.map(outer, range(5))))
"""
    done = program.run(sys.executable, program.write(source))
    assert (done.stdout, done.stderr) == ("[0, 0, 1, 5, 14]\n", "")


def test_what_a_killed_task_had_running_ends_too(program: Runner) -> None:
    source = """
import signal
import polyexec

def outer(method):
    executor = polyexec.get_context(method).Executor(2)
    executor.submit(int).result()
    executor.submit(signal.pause)
    executor.submit(signal.pause).result()

if __name__ == "__main__":
    with polyexec.get_context(METHOD).Executor(1) as executor:
        task = executor.options(timeout=2).submit(outer, METHOD)
        print(type(task.exception()).__name__)
"""
    done = program.run(sys.executable, program.write(source))
    assert (done.stdout, done.stderr) == ("TaskTimeoutError\n", "")


def test_threads_make_executors_while_others_submit(program: Runner) -> None:
    source = """
import threading
import polyexec

def submit(executor, stop):
    while not stop.is_set():
        assert list(executor.map(abs, range(-50, 50))) == [abs(n) for n in range(-50, 50)]

def make(context, results):
    for _ in range(3):
        with context.Executor(1) as executor:
            results.append(executor.submit(pow, 2, 10).result())

if __name__ == "__main__":
    context, stop, results = polyexec.get_context(METHOD), threading.Event(), []
    with context.Executor(2) as shared:
        submitters = [threading.Thread(target=submit, args=(shared, stop)) for _ in range(3)]
        makers = [threading.Thread(target=make, args=(context, results)) for _ in range(3)]
        for thread in submitters + makers:
            thread.start()
        for thread in makers:
            thread.join()
        stop.set()
        for thread in submitters:
            thread.join()
    print(results == [1024] * 9)
"""
    done = program.run(sys.executable, program.write(source))
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_an_event_loop_awaits_tasks_and_goes_on_meanwhile(program: Runner) -> None:
    source = """
import asyncio
import os
import polyexec

async def main():
    loop = asyncio.get_running_loop()
    with polyexec.get_context(METHOD).Executor(2) as executor:
        reading, writing = os.pipe()
        task = executor.submit(lambda path: open(path).read(1), f"/proc/{os.getpid()}/fd/{reading}")
        loop.call_soon(os.write, writing, b"x")
        print(await task)
        print(sum(await asyncio.gather(*(executor.submit(abs, -n) for n in range(100)))))
        print(await loop.run_in_executor(executor, pow, 2, 10))
        print([result async for result in executor.amap(abs, range(-2, 2))])
        try:
            await executor.submit(divmod, 1, 0)
        except ZeroDivisionError as error:
            print(type(error).__name__)

asyncio.run(main())
"""
    done = program.run(sys.executable, program.write(source))
    printed = "x\n4950\n1024\n[2, 1, 0, 1]\nZeroDivisionError\n"
    assert (done.stdout, done.stderr) == (printed, "")


def test_an_awaiting_task_that_is_cancelled_cancels_what_it_awaits(program: Runner) -> None:
    source = """
import asyncio
import time
import polyexec

async def main():
    with polyexec.get_context(METHOD).Executor(1) as executor:
        running, waiting = executor.submit(time.sleep, 1), executor.submit(time.sleep, 1000)
        try:
            await asyncio.wait_for(waiting, 0.1)
        except asyncio.TimeoutError:
            print(waiting.cancelled())
        await running

asyncio.run(main())
"""
    done = program.run(sys.executable, program.write(source))
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize(
    "habit",
    [
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "signal.signal(signal.SIGCHLD, reap)",
    ],
    ids=["blocked", "ignored", "reaping"],
)
def test_a_program_may_do_with_signals_as_it_likes(program: Runner, habit: str) -> None:
    source = f"""
import contextlib
import os
import signal
import polyexec

def reap(*_):
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)

def mask():
    return list(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

if __name__ == "__main__":
    {habit}
    with polyexec.get_context(METHOD).Executor(1) as executor:
        print(executor.submit(mask).result())
        print(type(executor.submit(os._exit, 3).exception()).__name__)
        late = executor.options(timeout=0.1).submit(signal.pause)
        print(type(late.exception()).__name__)
"""
    done = program.run(sys.executable, program.write(source))
    assert (done.stdout, done.stderr) == ("[]\nWorkerLostError\nTaskTimeoutError\n", "")
