"""Imports the modules of a test package through ``exec_into``, under another package's name."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from typing import TYPE_CHECKING

from cpsuite import imports, source

if TYPE_CHECKING:
    import types
    from collections.abc import Sequence


class _Loader(importlib.abc.Loader):
    def __init__(self, module_source: source.Source) -> None:
        self._source = module_source

    def exec_module(self, module: types.ModuleType) -> None:
        source.exec_into(self._source, vars(module), imports.FUTURES)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, package: str, package_source: source.Source) -> None:
        self._package, self._source = package, package_source

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        package, _, name = fullname.rpartition(".")
        module = self._source._replace(path=self._source.path / f"{name}.py")
        if package != self._package or not module.path.exists():
            return None
        return importlib.machinery.ModuleSpec(fullname, _Loader(module), origin=str(module.path))


def install(package: str, package_source: source.Source) -> list[str]:
    """Make *package* load the modules of *package_source*; return their names."""
    sys.meta_path.insert(0, _Finder(package, package_source))
    tests = sorted(path.stem for path in package_source.path.glob("test_*.py"))
    return [f"{package}.{name}" for name in ["util", "executor", *tests]]
