"""Shutting down: nothing accepted is lost, nothing hangs."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from polyexec import CancelledError, capabilities
from polyexec.testing import tasks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polyexec import Context
    from polyexec.testing._gate import Gate


def test_leaving_with_waits_for_all_tasks(context: Context, gate: Gate) -> None:
    gate.open()
    with context.Executor(2) as executor:
        futures = [executor.submit(tasks.pass_gate, gate.address) for _ in range(20)]
    assert all(future.done() for future in futures)
    assert len(gate.arrived) == 20


def test_a_task_submitted_after_shutdown_is_refused(
    context: Context, patiently: Callable[..., Any]
) -> None:
    executor = context.Executor(2)
    patiently(executor.shutdown)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(int)


def test_shutdown_twice_is_shutdown(context: Context, patiently: Callable[..., Any]) -> None:
    executor = context.Executor(2)
    assert executor.submit(int).result() == 0
    patiently(executor.shutdown)
    patiently(executor.shutdown)


def test_an_executor_that_never_ran_a_task_shuts_down(
    context: Context, patiently: Callable[..., Any]
) -> None:
    patiently(context.Executor(2).shutdown)


def test_shutdown_without_wait_returns_at_once_and_loses_nothing(
    context: Context, gate: Gate, patience: float, patiently: Callable[..., Any]
) -> None:
    executor = context.Executor(2)
    futures = [executor.submit(tasks.pass_gate, gate.address) for _ in range(5)]
    gate.await_arrivals(2)
    patiently(executor.shutdown, wait=False)
    assert not all(future.done() for future in futures)
    gate.open()
    assert [future.result(patience) for future in futures] == [""] * 5


def test_shutdown_can_cancel_what_has_not_started(
    context: Context, gate: Gate, patience: float, patiently: Callable[..., Any]
) -> None:
    executor = context.Executor(2)
    futures = [executor.submit(tasks.pass_gate, gate.address) for _ in range(50)]
    gate.await_arrivals(2)
    patiently(executor.shutdown, wait=False, cancel_futures=True)
    gate.open()
    patiently(executor.shutdown)
    cancelled = [future for future in futures if future.cancelled()]
    assert len(cancelled) > 20
    for future in futures:
        if future not in cancelled:
            assert future.result(patience) == ""


def test_tasks_of_a_dropped_executor_complete(
    context: Context, gate: Gate, patience: float
) -> None:
    executor = context.Executor(2)
    futures = [executor.submit(tasks.pass_gate, gate.address) for _ in range(5)]
    del executor
    gate.open()
    assert [future.result(patience) for future in futures] == [""] * 5


def test_a_dropped_executor_is_collected(context: Context, patience: float) -> None:
    collected = threading.Event()
    executor = context.Executor(2)
    executor.submit(int).result(patience)
    reference = weakref.ref(executor, lambda _: collected.set())
    del executor
    gc.collect()
    assert collected.wait(patience), "something refers to it"
    assert reference() is None


@pytest.mark.needs(capabilities.KILL_RUNNING)
@pytest.mark.parametrize("how", ["terminate_workers", "kill_workers"])
def test_ending_the_workers_ends_what_they_run(
    context: Context, gate: Gate, patience: float, patiently: Callable[..., Any], how: str
) -> None:
    executor = context.Executor(2)
    futures = [executor.submit(tasks.pass_gate, gate.address) for _ in range(6)]
    gate.await_arrivals(2)
    patiently(getattr(executor, how))
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(patience)
    patiently(executor.shutdown)


@pytest.mark.needs(capabilities.MAX_TASKS_PER_CHILD)
def test_workers_are_replaced_after_so_many_tasks(context: Context, patience: float) -> None:
    with context.Executor(1, max_tasks_per_child=2) as executor:
        futures = [executor.submit(tasks.square, number) for number in range(6)]
        assert [future.result(patience) for future in futures] == [n * n for n in range(6)]
    assert len({future.worker for future in futures}) == 3


def test_the_interpreter_finishes_tasks_before_it_exits(
    backend: str, tmp_path: Path, patience: float
) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        "import sys\n"
        "import polyexec\n"
        "from polyexec.testing import tasks\n"
        "if __name__ == '__main__':\n"
        "    executor = polyexec.get_context(sys.argv[1]).Executor(2)\n"
        "    for path in sys.argv[2:]:\n"
        "        executor.submit(tasks.write_file, path, 'done')\n"
    )
    paths = [tmp_path / name for name in "abcdef"]
    subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(script), backend, *map(str, paths)],
        check=True,
        timeout=60 + 4 * patience,
    )
    assert [path.read_text() for path in paths] == ["done"] * 6
