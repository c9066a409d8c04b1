"""plugins/README.md: every hook has a heading there, with its exact signature."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from polyexec import hookspecs

TEXT = (Path(__file__).parents[2] / "plugins" / "README.md").read_text(encoding="utf-8")
HOOKS = [name for name in hookspecs.__all__ if name.startswith("polyexec_")]


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_has_a_heading_with_its_exact_signature(name: str) -> None:
    signature = str(inspect.signature(getattr(hookspecs, name))).replace("'", "")
    assert f"### `{name}{signature}`\n" in TEXT


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_says_when_it_is_called(name: str) -> None:
    assert inspect.getdoc(getattr(hookspecs, name)).startswith("Called ")  # type: ignore[union-attr]  # it has one


def test_the_current_version_of_the_interface_is_named() -> None:
    assert f"POLYEXEC_API = {hookspecs.API_VERSION}" in TEXT
