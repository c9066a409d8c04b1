"""Executors and futures in a child that was forked by hand."""

from __future__ import annotations

import os
import textwrap

import pytest

from core.fakes import (
    THREAD,
    python,
)


def _in_child(code: str) -> str:
    """Run *code* and return what it prints; `child(...)` in it forks."""
    prelude = """
        def child(task, end=os._exit):
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                try:
                    task()
                except BaseException as error:
                    os.write(1, type(error).__name__.encode())
                end(0)
            limit = time.monotonic() + 4
            while time.monotonic() < limit:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    return
                time.sleep(0.01)
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            os.write(1, b"hangs")
        gate = threading.Event()
        """
    done = python(
        THREAD + textwrap.dedent(prelude) + textwrap.dedent(code), "-W", "ignore", seconds=20
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


pytestmark_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@pytestmark_fork
def test_in_a_forked_child_the_parents_executor_is_broken() -> None:
    code = """
        executor = ctx.Executor(1)
        future = executor.submit(gate.wait, 20)
        child(lambda: executor.submit(int))
        child(lambda: future.result(3))
        child(executor.shutdown)
        gate.set()
        executor.shutdown()
    """
    assert _in_child(code) == "BrokenExecutorBrokenExecutor"


@pytestmark_fork
def test_in_a_forked_child_a_full_executor_does_not_block() -> None:
    code = """
        executor = ctx.Executor(1, max_pending=1)
        executor.submit(gate.wait, 20)
        child(lambda: executor.submit(int))
        gate.set()
        executor.shutdown()
    """
    assert _in_child(code) == "BrokenExecutor"


@pytestmark_fork
def test_a_forked_child_exits_while_the_parents_thread_pulls_a_map() -> None:
    code = """
        executor = ctx.Executor(1)
        pulling = threading.Event()
        def inputs():
            yield 1
            pulling.set()
            gate.wait(20)
        reader = threading.Thread(target=lambda: list(executor.map(abs, inputs())))
        reader.start()
        pulling.wait(5)
        child(lambda: None, sys.exit)
        gate.set()
        reader.join()
    """
    assert _in_child(code) == ""


@pytestmark_fork
def test_a_forked_child_runs_no_task_of_its_parent() -> None:
    code = """
        executor = ctx.Executor(1)
        executor.submit(gate.wait, 20)
        executor.submit(print, os.getpid())
        child(lambda: None, sys.exit)
        gate.set()
        executor.shutdown()
        print("end")
    """
    assert len(_in_child(code).split()) == 2


@pytestmark_fork
def test_a_forked_child_may_make_an_executor_of_its_own() -> None:
    code = """
        executor = ctx.Executor(1)
        executor.submit(int).result()
        def own():
            with ctx.Executor(1) as mine:
                mine.submit(os.write, 1, b"own").result(3)
        child(own, sys.exit)
    """
    assert _in_child(code) == "own"
