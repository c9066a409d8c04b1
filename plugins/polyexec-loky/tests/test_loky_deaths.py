"""What a worker's death does, and to whom."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import loky_tasks
import pytest

import polyexec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polyexec_loky._executor import LokyExecutor

    Make = Callable[..., LokyExecutor]


def test_a_task_whose_worker_is_killed_is_lost(make: Make) -> None:
    with pytest.raises(polyexec.WorkerLostError, match=r"killed by SIGKILL while running 'die' "):
        make().submit(loky_tasks.die).result()


def test_the_error_knows_the_worker_the_task_and_the_exit_code(make: Make) -> None:
    error = make().submit(os._exit, 3).exception()
    assert isinstance(error, polyexec.WorkerLostError)
    assert (error.task, error.exitcode, error.attempts) == ("_exit", 3, 1)
    assert f"(pid {error.pid})" in str(error)


def test_a_task_that_runs_elsewhere_survives(make: Make, fifos: tuple[Path, Path]) -> None:
    begun, go = fifos
    executor = make(2)
    innocent = executor.submit(loky_tasks.meet, begun, go)
    begun.read_text()
    assert executor.submit(loky_tasks.die).exception()
    go.write_text("survived")
    assert innocent.result() == "survived"


def test_tasks_that_wait_survive(make: Make) -> None:
    executor = make()
    executor.submit(loky_tasks.die)
    waiting = [executor.submit(abs, -number) for number in range(5)]
    assert [future.result() for future in waiting] == [0, 1, 2, 3, 4]


def test_a_lost_task_runs_again_if_asked(make: Make, tmp_path: Path) -> None:
    future = make().options(retries=1).submit(loky_tasks.die_once, tmp_path / "mark")
    assert (future.result(), future.attempts) == ("alive", 2)


def test_retries_are_counted(make: Make) -> None:
    future = make().options(retries=2).submit(loky_tasks.die)
    assert "(attempt 3 of 3)" in str(future.exception())


def test_the_death_of_an_idle_worker_costs_nothing(make: Make) -> None:
    executor = make()
    os.kill(executor.submit(os.getpid).result(), signal.SIGKILL)
    future = executor.submit(abs, -1)
    assert (future.result(), future.attempts) == (1, 1)


def test_a_task_that_did_not_reach_its_worker_goes_to_another(make: Make) -> None:
    executor = make()
    pid = executor.submit(os.getpid).result()
    os.kill(pid, signal.SIGSTOP)
    future = executor.submit(len, bytes(8 << 20))
    os.kill(pid, signal.SIGKILL)
    assert (future.result(), future.attempts) == (8 << 20, 1)


def test_a_task_that_kills_those_who_receive_it_is_lost(make: Make) -> None:
    executor = make(initializer=loky_tasks.die_of_every_task)
    with pytest.raises(polyexec.WorkerLostError, match="while it was being sent 'abs'"):
        executor.submit(abs, -1).result()


def test_an_argument_that_kills_the_worker_loses_its_task(make: Make) -> None:
    executor = make()
    lost = executor.submit(id, loky_tasks.KillsWhenUnpickled())
    assert executor.submit(abs, -1).result() == 1
    assert isinstance(lost.exception(), polyexec.WorkerLostError)


def test_half_a_result_is_a_loss(make: Make) -> None:
    executor = make()
    with pytest.raises(polyexec.WorkerLostError, match="exited with code 4"):
        executor.submit(loky_tasks.die_halfway_through_the_answer).result()
    assert executor.submit(abs, -1).result() == 1


def test_observers_are_told_of_the_death(make: Make) -> None:
    executor = make()
    told: list[tuple[str, object]] = []
    executor.worker_lost = lambda worker, error: told.append((worker, error))  # type: ignore[method-assign]
    future = executor.submit(loky_tasks.die)
    assert (future.exception(), told) == (told[0][1], [(future.worker, told[0][1])])


def test_an_initializer_that_raises_breaks_the_executor(make: Make) -> None:
    executor = make(initializer=loky_tasks.fail, initargs=("no luck",))
    error = executor.submit(abs, -1).exception()
    assert isinstance(error, polyexec.InitializerError)
    assert isinstance(error.__cause__, ValueError)


def test_a_broken_executor_takes_no_more_tasks(make: Make) -> None:
    executor = make(initializer=loky_tasks.fail, initargs=("no luck",))
    executor.submit(abs, -1).exception()
    with pytest.raises(polyexec.InitializerError, match="no luck"):
        executor.submit(abs, -1)


def test_workers_that_die_before_they_are_ready_break_the_executor(make: Make) -> None:
    executor = make(2, initializer=os._exit, initargs=(9,))
    futures = [executor.submit(abs, -1) for _ in range(4)]
    for future in futures:
        assert "exited with code 9 before it was ready" in str(future.exception())


def test_an_initializer_that_can_not_be_sent_fails_the_task(make: Make, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        executor = make(initializer=print, initargs=(file,))
        error = executor.submit(abs, -1).exception()
    assert isinstance(error, polyexec.UnpicklableError)
