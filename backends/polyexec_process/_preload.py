"""What a fork server imports before it forks."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def preload(names: Iterable[str], main: str | None) -> None:
    """Import the modules *names*; `__main__` is the program at the path *main*."""
    for name in names:
        if name == "__main__":
            if main is not None and is_guarded(main):
                _import_program(main)
        else:
            with contextlib.suppress(ImportError):  # as multiprocessing's fork server does
                __import__(name)


def program() -> str | None:
    """Return the path of the running program, None if it has none."""
    main: Any = sys.modules["__main__"]
    path: str | None = getattr(main, "__file__", None)
    return path


def is_guarded(path: str) -> bool:
    """Return whether the program at *path* keeps `if __name__ == "__main__"` from being run again.

    One that does not would start all over, and so is not imported.
    """
    import ast
    from pathlib import Path

    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):  # not a source file
        return False
    return any(
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and {"__name__", "__main__"} <= {_text(part) for part in ast.walk(node.test)}
        for node in tree.body
    )


def _text(node: Any) -> str | None:
    text = getattr(node, "id", None) or getattr(node, "value", None)
    return text if isinstance(text, str) else None


def _import_program(path: str) -> None:
    import multiprocessing.spawn

    module: Any = multiprocessing.spawn
    module.import_main_path(path)
