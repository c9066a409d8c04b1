"""Finding the function that `MODULE:FUNCTION` names, or saying what may have been meant."""

from __future__ import annotations

import builtins
import importlib
import inspect
import os
import pkgutil
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from polyexec.arguments import near_miss
from polyexec.cli._messages import describe, full_traceback, write_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType


def add_current_directory() -> None:
    """Make modules of the current directory importable, as `python -m` does."""
    with suppress(OSError):  # it may have been removed
        here = os.getcwd()  # noqa: PTH109 - sys.path holds strings
        if here not in sys.path:
            sys.path.insert(0, here)


def resolve(target: str, *, tracebacks: bool = False) -> Callable[[str], Any]:
    """Return the function that *target* names; *tracebacks* shows where an import has failed."""
    module_name, colon, path = target.partition(":")
    if not (colon and module_name and path):
        raise click.UsageError(f"{target!r} is not MODULE:FUNCTION{_with_colon(target)}")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise click.UsageError(
            f"{module_name!r} is not the name of a module"
            f"{_without_path(module_name, path) or '; write it as in an import statement'}"
        )
    found: Any = _import(module_name, path, tracebacks=tracebacks)
    for name in path.split("."):
        found = _attribute(found, name)
    _check_function(found, target)
    function: Callable[[str], Any] = found
    return function


def _import(name: str, path: str, *, tracebacks: bool) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _import_failed(name, error, tracebacks=tracebacks) from error
        near = near_miss(error.name, _siblings(error.name)) or _without_path(name, path)
        raise click.UsageError(f"there is no module {error.name!r}{near}") from error
    except (Exception, SystemExit) as error:
        raise _import_failed(name, error, tracebacks=tracebacks) from error


def _import_failed(name: str, error: BaseException, *, tracebacks: bool) -> click.UsageError:
    if tracebacks:
        write_error(full_traceback(error))
    hint = "" if tracebacks else "; --traceback shows where"
    return click.UsageError(f"importing {name!r} failed: {describe(error)}{hint}")


def _attribute(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError as error:
        kind = "module" if inspect.ismodule(owner) else "object"
        known = [other for other in dir(owner) if callable(getattr(owner, other, None))]
        raise click.UsageError(
            f"{kind} {getattr(owner, '__name__', owner)!r} has no {name!r}{near_miss(name, known)}"
        ) from error


def _check_function(found: object, target: str) -> None:
    if not callable(found):
        raise click.UsageError(
            f"{target!r} is not callable but of type {type(found).__name__!r}; name a function"
        )
    if inspect.iscoroutinefunction(found):
        raise click.UsageError(
            f"{target!r} is an async function; name a plain one, which may call asyncio.run"
        )


def _siblings(name: str) -> Iterable[str]:
    """Return the names of all modules beside the module *name*."""
    parent, _, _ = name.rpartition(".")
    if not parent:
        return {module.name for module in pkgutil.iter_modules()} | sys.stdlib_module_names
    path = getattr(sys.modules.get(parent), "__path__", ())
    inside = {f"{parent}.{module.name}" for module in pkgutil.iter_modules(path)}
    return inside | {module for module in sys.modules if module.rpartition(".")[0] == parent}


def _with_colon(target: str) -> str:
    """Suggest where the colon may go."""
    bare = target.strip(":")
    module, _, function = bare.rpartition(".")
    if ":" in target or not bare:
        return ", as in 'os.path:basename'"
    if module:
        return f"; did you mean '{module}:{function}'?"
    if callable(getattr(builtins, bare, None)):
        return f"; did you mean 'builtins:{bare}'?"
    return f", as in '{bare}:main'"


def _without_path(module_name: str, path: str) -> str:
    """Suggest the module that a file's name may stand for."""
    dotted = module_name.removesuffix(".py").removeprefix("./").replace("/", ".")
    if dotted != module_name and all(part.isidentifier() for part in dotted.split(".")):
        return f"; did you mean '{dotted}:{path}'?"
    return ""
