"""The runnable classes of _test_multiprocessing: each base class in each type the context has."""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import multiprocessing.util
import unittest
from typing import Any

from cpsuite import STDLIB_METHODS, context_name, get_ctx, is_partial, mp_src

_start_method_before: list[str | None] = []


def _types_wanted() -> set[str]:
    if is_partial():
        return {"threads"}
    every_context = {"processes", "manager"}
    return every_context | {"threads"} if context_name() == "thread" else every_context


def _define_classes() -> None:
    for name, base in list(vars(mp_src).items()):
        if not isinstance(base, type) or base is mp_src.BaseTestCase:
            continue
        if issubclass(base, mp_src.BaseTestCase):
            _define_typed_classes(name, base)
        elif (
            issubclass(base, unittest.TestCase)
            and base.__module__ == mp_src.__name__
            and not is_partial()
        ):
            globals()[name] = type(name, (base,), {"__module__": __name__})


def _define_typed_classes(name: str, base: Any) -> None:
    for kind in sorted(_types_wanted().intersection(base.ALLOWED_TYPES)):
        mixin = getattr(mp_src, f"{kind.capitalize()}Mixin")
        bound = f"With{kind.capitalize()}{name[1:]}"
        globals()[bound] = type(bound, (base, mixin, unittest.TestCase), {"__module__": __name__})


_define_classes()


def setUpModule() -> None:
    """Do what CPython's own set-up does, for the context under test."""
    name = context_name()
    _start_method_before.append(multiprocessing.get_start_method(allow_none=True))
    if name in STDLIB_METHODS:  # for code that uses the default context, too
        multiprocessing.set_start_method(name, force=True)
    if name == "forkserver":
        get_ctx().set_forkserver_preload(["__main__", "cpsuite.mp"])
    multiprocessing.process._cleanup()  # type: ignore[attr-defined]  # private, as in CPython's own
    mp_src.check_enough_semaphores()
    mp_src.util.get_temp_dir()
    multiprocessing.get_logger().setLevel(mp_src.LOG_LEVEL)


def tearDownModule() -> None:
    """Do what CPython's own tear-down does."""
    mp_src.test.support.gc_collect()
    method = _start_method_before[0]
    if method is not None:
        multiprocessing.set_start_method(method, force=True)
    multiprocessing.util._cleanup_tests()  # type: ignore[attr-defined]  # private, as in CPython's own
