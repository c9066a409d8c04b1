"""What a fork server imports before it forks."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def preload(names: Iterable[str], main: str | None) -> None:
    """Import the modules *names*; `__main__` is the program at the path *main*."""
    for name in names:
        if name == "__main__":
            from polyexec.serialization.programs import is_guarded

            if main is not None and is_guarded(main):
                _import_program(main)
        else:
            with contextlib.suppress(ImportError):  # as multiprocessing's fork server does
                __import__(name)


def program() -> tuple[str, str | None] | None:
    """Return the path of the running program, and its package; None if it has none."""
    main: Any = sys.modules["__main__"]
    path: str | None = getattr(main, "__file__", None)
    if path is None:
        return None
    # pathlib takes long to import.
    return os.path.abspath(path), getattr(main, "__package__", None)  # noqa: PTH100


def _import_program(path: str) -> None:
    import multiprocessing.spawn

    module: Any = multiprocessing.spawn
    module.import_main_path(path)
