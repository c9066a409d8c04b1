"""Tasks go where what they need is, and know which of it they have."""

from __future__ import annotations

import logging
import os
import queue
from typing import TYPE_CHECKING

import pytest

import polyexec
from cluster import errands
from cluster.commands import PATIENCE
from polyexec_zmq._executor import ZmqExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cluster.commands import Commands


@pytest.fixture
def context() -> Iterator[polyexec.Context]:
    """Return a private cluster that has two GPUs, as far as it knows."""
    with polyexec.get_context("zmq", resources={"gpu": 2}) as context:
        yield context


def test_tasks_that_run_at_a_time_have_different_units(
    context: polyexec.Context, tmp_path: Path
) -> None:
    with context.Executor(4) as executor:
        with_gpu = executor.options(resources={"gpu": 1})
        futures = [with_gpu.submit(errands.given_after, str(tmp_path), 2) for _ in range(2)]
        told = [future.result(PATIENCE) for future in futures]
        assert {gpu for gpu, _, _ in told} == {"0", "1"}
        assert all(gpu == visible for gpu, visible, _ in told)


def test_no_more_tasks_run_at_a_time_than_there_are_units(context: polyexec.Context) -> None:
    with context.Executor(4) as executor:
        with_gpu = executor.options(resources={"gpu": 1})
        futures = [with_gpu.submit(errands.given) for _ in range(20)]
        assert len({future.result(PATIENCE)[2] for future in futures}) <= 2


def test_tasks_that_need_nothing_are_told_of_nothing(context: polyexec.Context) -> None:
    with context.Executor(2) as executor:
        executor.options(resources={"gpu": 1}).submit(errands.given).result(PATIENCE)
        assert executor.submit(errands.given).result(PATIENCE)[0] is None


def test_an_executors_resources_are_those_of_its_tasks(context: polyexec.Context) -> None:
    with context.Executor(4, resources={"gpu": 2}) as executor:
        assert executor.submit(errands.given).result(PATIENCE)[:2] == ("0,1", "0,1")


def test_executors_take_turns_with_what_there_is_too_little_of(context: polyexec.Context) -> None:
    with context.Executor(2) as some, context.Executor(2, resources={"gpu": 2}) as all_there_are:
        one = some.options(resources={"gpu": 1})
        for _ in range(3):
            assert one.submit(errands.given).result(PATIENCE)[0] in ("0", "1")
            assert all_there_are.submit(errands.given).result(PATIENCE)[0] == "0,1"


@pytest.mark.parametrize("amount", [0, -1, 0.5, "1", True])
def test_resources_are_whole_numbers(context: polyexec.Context, amount: float) -> None:
    with context.Executor(1) as executor:
        future = executor.options(resources={"gpu": amount}).submit(errands.given)
        assert isinstance(future.exception(PATIENCE), TypeError | ValueError)
        with pytest.raises((TypeError, ValueError), match="whole numbers"):
            context.Executor(1, resources={"gpu": amount})


def test_tasks_go_to_the_node_that_has_what_they_need(commands: Commands) -> None:
    commands.head()
    commands.node("--name", "plain")
    with commands.context() as context, context.Executor(4) as executor:
        fast = executor.options(resources={"fast": 1})
        waiting = [fast.submit(os.getpid) for _ in range(4)]
        assert executor.submit(abs, -1).result(PATIENCE) == 1
        commands.node("--name", "special", "--tag", "fast=2")
        ran = {future.result(PATIENCE) for future in waiting}
        assert isinstance(executor, ZmqExecutor)
        special = {each["pid"] for each in executor.workers() if each["node"] == "special"}
        assert ran <= special


class Ear(logging.Handler):
    """Hears of one record."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: queue.SimpleQueue[str] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of it."""
        self.heard.put(record.getMessage())


@pytest.fixture
def ear() -> Iterator[Ear]:
    """Return what hears what the program is told."""
    ear = Ear()
    logging.getLogger("polyexec").addHandler(ear)
    yield ear
    logging.getLogger("polyexec").removeHandler(ear)


def test_a_program_hears_of_tasks_that_no_node_can_run(commands: Commands, ear: Ear) -> None:
    commands.head()
    with commands.context() as context, context.Executor(1) as executor:
        future = executor.submit(abs, -1)
        assert "1 tasks wait for a node" in ear.heard.get(timeout=PATIENCE)
        assert not future.done()
        commands.node()
        assert future.result(PATIENCE) == 1
