"""A node that can have no more workers of an executor costs that executor this node alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from cluster import errands
from cluster.commands import PATIENCE, until

if TYPE_CHECKING:
    from cluster.commands import Commands


def _end_starter(executor: Any, node: str) -> None:
    """Kill what starts *node*'s workers."""
    (pid, *_) = [each["pid"] for each in executor.workers() if each["node"] == node]
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)


def _use_both(executor: Any) -> None:
    """Have tasks run on two nodes."""

    def nodes() -> set[str]:
        list(executor.map(abs, range(100), chunksize=1))
        return {each["node"] for each in executor.workers() if each["state"] == "idle"}

    until(lambda: nodes() == {"first", "second"})


def _use_until_it_fails(executor: polyexec.Executor) -> None:
    while True:
        executor.submit(abs, -1).result(PATIENCE)


def test_tasks_go_to_the_other_node(commands: Commands) -> None:
    commands.head()
    commands.node("--name", "first")
    commands.node("--name", "second")
    with commands.context() as context, context.Executor(4) as executor:
        _use_both(executor)
        _end_starter(executor, "first")
        again = executor.options(retries=3)
        futures = [again.submit(errands.environment, "PATH") for _ in range(200)]
        assert len({future.result(PATIENCE) for future in futures}) == 1
        told: Any = executor
        until(lambda: {each["node"] for each in told.workers()} == {"second"})
        assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_without_another_node_the_executor_is_of_no_more_use(commands: Commands) -> None:
    commands.head()
    commands.node("--name", "first")
    with commands.context() as context, context.Executor(2) as executor:
        executor.submit(abs, -1).result(PATIENCE)
        _end_starter(executor, "first")
        with pytest.raises(polyexec.BrokenExecutor):
            _use_until_it_fails(executor)
