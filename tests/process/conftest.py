"""Each test runs on every process context, and on a private cluster."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import polyexec
from core.fakes import PATIENCE
from polyexec.testing._gate import Gate
from process.programs import LOCAL, Runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

METHODS = [*LOCAL, "zmq"]

collect_ignore_glob = ["test_*"] if sys.platform == "win32" else []


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    """Return a context's name."""
    name: str = request.param
    return name


@pytest.fixture
def context(method: str) -> Iterator[polyexec.Context]:
    """Return a context of processes."""
    with polyexec.get_context(method) as context:
        yield context


@pytest.fixture
def program(method: str, tmp_path: Path) -> Iterator[Runner]:
    """Return what runs a program, which must have gone without a trace by the end of the test."""
    runner = Runner(method, tmp_path)
    yield runner
    survivors = runner.survivors()
    runner.kill()
    assert survivors == []
    assert runner.leftovers() == []


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a gate at which tasks wait; it opens when the test ends."""
    gate = Gate(PATIENCE)
    yield gate
    gate.close()
