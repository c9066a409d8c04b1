"""Fixtures for the tests of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import polyexec
from cli.commandline import CommandLine
from polyexec._registry import current
from polyexec.capabilities import ISOLATION, KILL_RUNNING

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


# Plugins' contexts may be installed, too; what an abrupt end makes of them is theirs to test.
OWN = sorted(
    name for name, owner in polyexec.available_contexts().items() if owner.startswith("polyexec ")
)


@pytest.fixture(params=OWN)
def context(request: pytest.FixtureRequest) -> str:
    """Every context that polyexec comes with."""
    name: str = request.param
    return name


@pytest.fixture
def killing_context() -> str:
    return _having(KILL_RUNNING)


@pytest.fixture
def isolating_context() -> str:
    return _having(ISOLATION)


@pytest.fixture
def context_that_cannot_kill() -> str:
    for name in polyexec.available_contexts():
        if KILL_RUNNING not in polyexec.get_context(name).capabilities:
            return name
    pytest.skip("every installed context can stop a running task")


def _having(capability: str) -> str:
    names = current().having(capability, besides="")
    if not names:
        pytest.skip(f"no installed context has {capability!r}")
    return names[0]
