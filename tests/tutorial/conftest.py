"""Runs the tutorial on every context that has processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import polyexec
from polyexec import capabilities

if TYPE_CHECKING:
    from collections.abc import Iterator

METHODS = [
    name
    for name in polyexec.available_contexts()
    if capabilities.PROCESS in polyexec.get_context(name).capabilities
]


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> Iterator[str]:
    """Choose the start method, as a program does once at its beginning."""
    polyexec.set_start_method(request.param, force=True)
    yield request.param
    polyexec.set_start_method(None, force=True)
