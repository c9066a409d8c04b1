"""The program, run once more in a worker that did not inherit it, for what can be had no other way.

multiprocessing runs it in each child, as `__mp_main__`. Here functions and classes travel by value,
and most workers never need that. But a lock can't travel, and a pickle that was made elsewhere, an
item of a queue say, knows a class by nothing but its name. So once something is asked for that is
not here, the program is run in the namespace that all of its functions share; what that has already
stays. A program without `if __name__ == "__main__"` would start all over, and is not run.
"""

from __future__ import annotations

import os
import sys
import threading
import types
from typing import TYPE_CHECKING, Any

from polyexec.serialization import homes
from polyexec.serialization.destinations import MAINS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Absent", "Program", "by_name", "is_guarded", "is_of_program"]


def is_guarded(path: str) -> bool:
    """Return whether `if __name__ == "__main__"` keeps the program at *path* from a second run."""
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


class Program:
    """The program at *path*, if it is to be had; *package* is what relative imports begin with."""

    def __init__(self, path: str, package: str | None) -> None:
        self._path = path
        self._package = package
        self._was_run = False
        self._renew_lock()
        if hasattr(os, "register_at_fork"):  # for a thread that is not there may hold it
            os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.RLock()

    def find(self, qualname: str) -> Any:
        """Return what the program has made by that *qualname*, None if that is nothing.

        The first time it raises what the program does.
        """
        with self._lock:
            if not self._was_run:
                self._was_run = True
                if is_guarded(self._path):
                    self._run()
        return homes.found(homes.born["__main__"], qualname)

    def _run(self) -> None:
        home = homes.adopted["__main__"]
        had = dict(home)
        with open(self._path, "rb") as file:  # noqa: PTH123 - pathlib takes long to import
            code = compile(file.read(), self._path, "exec")
        home.update(__name__="__mp_main__", __file__=self._path, __package__=self._package)
        try:
            exec(code, home)  # noqa: S102 - as multiprocessing does
        finally:
            made = dict(home)
            home.update(had)
        _settle(made.values(), set())
        for name in MAINS:
            homes.born[name].update(made)
            homes.delivered[name].update((new, made[new]) for new in made.keys() - had.keys())


def _settle(values: Iterable[Any], seen: set[int]) -> None:
    """Have functions and classes say that they are of the main module, as in the program itself."""
    for value in values:
        if isinstance(value, types.FunctionType | type) and value.__module__ == "__mp_main__":
            value.__module__ = "__main__"
            if isinstance(value, type) and id(value) not in seen:
                seen.add(id(value))
                _settle(list(vars(value).values()), seen)


class Absent(types.ModuleType):
    """Stands for the main module, where pickles look for what they know by name."""

    def __getattr__(self, name: str) -> Any:
        if homes.program is not None and not name.startswith("__"):
            homes.program.find(name)
            if name in vars(self):
                return vars(self)[name]
        raise AttributeError(f"module '__main__' has no attribute {name!r} in this worker")


def is_of_program(kind: Any) -> bool:
    """Return whether *kind* is what the program made as it was run here, found by its name."""
    return isinstance(sys.modules.get("__main__"), Absent) and homes.was_born(kind)


def by_name(name: str) -> Any:
    """Return what the main module has of that qualified *name*."""
    found: Any = sys.modules["__main__"]
    for part in name.split("."):
        found = getattr(found, part)
    return found
