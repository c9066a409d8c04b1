"""Makes the tasks importable here and in workers, and gives each test an executor."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import polyexec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polyexec_loky._executor import LokyExecutor

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def make() -> Iterator[Callable[..., LokyExecutor]]:
    """Make executors of the context `loky`, which are shut down after the test."""
    made: list[LokyExecutor] = []

    def make(max_workers: int = 1, **options: object) -> LokyExecutor:
        executor: LokyExecutor = polyexec.get_context("loky").Executor(max_workers, **options)  # type: ignore[assignment]  # what this context makes
        made.append(executor)
        return executor

    yield make
    for executor in made:
        executor.shutdown()


@pytest.fixture
def fifos(tmp_path: Path) -> tuple[Path, Path]:
    """Return two named pipes, on which tests and tasks wait for each other."""
    paths = (tmp_path / "begun", tmp_path / "go")
    for path in paths:
        os.mkfifo(path)
    return paths
