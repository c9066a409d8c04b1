"""Runs tests of one class in this process and streams events to a pipe; started by ``run.py``.

Light to import: children that are spawned import it again, as their main module.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

_MODULES = {"multiprocessing": "cpsuite.mp", "futures": "cpsuite.fut"}


def main(arguments: Sequence[str]) -> None:
    """List a suite's tests, or run some of one class."""
    import faulthandler
    import importlib
    import signal

    options = _parsed(arguments)
    faulthandler.enable()
    # A job started with `&` or nohup inherits SIGINT ignored; tests send SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    module = importlib.import_module(_MODULES[options.suite])
    if options.list:
        _list(module, options.suite, options.list)
    else:
        _run(module, options)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    import argparse

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", choices=tuple(_MODULES), required=True)
    parser.add_argument("--list", help="write the names of all tests to this file")
    parser.add_argument("--cls")
    parser.add_argument("--tests", help="comma-separated")
    parser.add_argument("--fd", type=int, help="where the events go")
    return parser.parse_args(arguments)


def _list(module: Any, suite: str, path: str) -> None:
    import json
    import unittest
    from pathlib import Path

    from cpsuite import is_partial, source

    loader = unittest.TestLoader()
    classes = {
        name: loader.getTestCaseNames(value)
        for name, value in sorted(vars(module).items())
        if isinstance(value, type) and issubclass(value, unittest.TestCase)
    }
    find = source.futures_source if suite == "futures" else source.multiprocessing_source
    found = find()
    listing = {
        "tests": {name: list(tests) for name, tests in classes.items() if tests},
        "source": str(found.path),
        "source_minor": found.minor,
        "partial": suite == "multiprocessing" and is_partial(),
    }
    Path(path).write_text(json.dumps(listing), encoding="utf-8")


def _run(module: Any, options: argparse.Namespace) -> None:
    import importlib
    import unittest

    from cpsuite.result import EventResult

    emit = _emitter(options.fd)
    if options.suite == "futures" and options.cls == "FutureTests":
        module.bind_future_class()
    cls = getattr(module, options.cls)
    # A suite runs setUpModule and setUpClass around the tests.
    suite = unittest.TestSuite(cls(test) for test in options.tests.split(","))
    emit(ev="ready")
    suite.run(EventResult(emit))
    support = importlib.import_module("test.support")
    emit(ev="done", env_altered=bool(support.environment_altered))


def _emitter(fd: int) -> Callable[..., None]:
    """Return a function that writes events to *fd*, and in forked children does nothing."""
    import json
    import os

    os.set_inheritable(fd, False)  # noqa: FBT003 - positional-only
    out = os.fdopen(fd, "wb", buffering=0)
    pid = os.getpid()

    def emit(**event: Any) -> None:
        if os.getpid() == pid:
            out.write(json.dumps(event).encode() + b"\n")

    return emit


if __name__ == "__main__":
    main(sys.argv[1:])
