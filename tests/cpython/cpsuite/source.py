"""Finds CPython's test sources and executes them, unmodified, in another namespace.

CPython 3.11.7 and 3.12.1 do not install test_concurrent_futures (a bug in their ``make install``).
There the suite of the newest interpreter installed beside them is borrowed.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import inspect
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from cpsuite.imports import builtins_for

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

OLDEST, NEWEST = 10, 13  # minor versions whose suites are known to work


class Source(NamedTuple):
    """A test module or package, and the minor version of the CPython it belongs to."""

    path: Path
    minor: int


def own_test_dir() -> Path:
    """Return the folder of the running interpreter's ``test`` package."""
    return Path(next(iter(importlib.import_module("test").__path__)))


def multiprocessing_source() -> Source:
    """Return the running interpreter's tests of multiprocessing."""
    return Source(own_test_dir() / "_test_multiprocessing.py", sys.version_info[1])


def futures_source() -> Source:
    """Return the tests of concurrent.futures: one file up to 3.11, a package after."""
    override = os.environ.get("CPSUITE_FUTURES_TESTS")
    folders = [Path(override)] if override else [own_test_dir(), *_sibling_test_dirs()]
    for folder in folders:
        for name in ("test_concurrent_futures", "test_concurrent_futures.py"):
            if (folder / name).exists():
                return Source(folder / name, _minor(folder))
    raise FileNotFoundError(
        f"no test_concurrent_futures in {[str(folder) for folder in folders]}; "
        "set CPSUITE_FUTURES_TESTS to a CPython's lib/python3.X/test"
    )


def _sibling_test_dirs() -> list[Path]:
    """Return the ``test`` folders of the interpreters installed beside this one, newest first."""
    siblings = Path(sys.base_prefix).parent.glob("3.*/lib/python3.*/test")
    known = [folder for folder in siblings if OLDEST <= _minor(folder) <= NEWEST]
    return sorted(known, key=_minor, reverse=True)


def _minor(test_dir: Path) -> int:
    """Return X of ``lib/python3.X/test``; 0 if it is none."""
    digits = test_dir.parent.name.rpartition(".")[2]
    return int(digits) if digits.isdigit() else 0


def exec_into(source: Source, namespace: dict[str, Any], rebound: str) -> None:
    """Execute *source* in *namespace*, where importing *rebound* yields the facade."""
    namespace["__file__"] = str(source.path)
    namespace["__builtins__"] = builtins_for(rebound)
    exec(_code(source.path), namespace)


def _code(path: Path) -> types.CodeType:
    if path.is_relative_to(own_test_dir()):  # the interpreter has its bytecode cached
        loader = importlib.machinery.SourceFileLoader("_cpsuite_source", str(path))
        return cast("types.CodeType", loader.get_code("_cpsuite_source"))
    _modernise_support()
    return compile(path.read_bytes(), path, "exec", dont_inherit=True)


def _modernise_support() -> None:
    """Give ``test.support`` what a borrowed, newer suite expects; no sanitizer builds here."""
    support = vars(importlib.import_module("test.support"))
    support.setdefault("Py_GIL_DISABLED", False)
    support.setdefault("requires_gil_enabled", lambda _message="": _unchanged)
    if "thread" not in inspect.signature(support["check_sanitizer"]).parameters:
        support["check_sanitizer"] = lambda **_kinds: False
        support["skip_if_sanitizer"] = lambda *_args, **_kinds: _unchanged


def _unchanged(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
