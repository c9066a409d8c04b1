"""The namespace in which the interpreter's test_concurrent_futures is executed.

Where that is a package, this module acts as the package: ``cpsuite.fut_src.test_wait`` and so on.
Names of this module's own start with an underscore, to stay out of the way.
"""

import importlib as _importlib
import sys as _sys
from types import ModuleType as _ModuleType

from cpsuite import imports as _imports
from cpsuite import package_finder as _package_finder
from cpsuite import source as _source

_SOURCE = _source.futures_source()
_SUBMODULES: list[str] = []

if _SOURCE.path.is_dir():
    __path__ = [str(_SOURCE.path)]
    _SUBMODULES += _package_finder.install(__name__, _SOURCE)
else:
    _source.exec_into(_SOURCE, globals(), _imports.FUTURES)


def _modules() -> list[_ModuleType]:
    """Return the executed test modules."""
    return [_importlib.import_module(name) for name in _SUBMODULES or [__name__]]


def _alias_as_test_module() -> None:
    """Make ``import test.test_concurrent_futures`` mean this: scripts take helpers from there."""
    for module in [_sys.modules[__name__], *_modules()]:
        alias = module.__name__.replace(__name__, "test.test_concurrent_futures", 1)
        _sys.modules[alias] = module
