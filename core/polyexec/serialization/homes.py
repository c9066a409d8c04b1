"""Where the globals of a module's functions live in this process."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["adopted", "home_of"]

#: The namespaces of modules that functions came from by value, and that may not be loaded here.
adopted: dict[str, dict[str, Any]] = {}


def home_of(module: str) -> dict[str, Any] | None:
    """Return the namespace that the functions of *module* have here, None if there is none."""
    known = adopted.get(module)
    if known is not None:
        return known
    loaded = sys.modules.get(module)
    return None if loaded is None else loaded.__dict__
