"""The pytest plugin that gives the kit its backend, its patience and its report."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from polyexec.testing._gate import Gate
from polyexec.testing._report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPORT = pytest.StashKey[Report]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--backend` and `--patience`."""
    group = parser.getgroup("polyexec", "polyexec's conformance kit")
    group.addoption(
        "--backend",
        action="append",
        metavar="NAME",
        help="run the kit on this context (repeatable; default: each installed one)",
    )
    group.addoption(
        "--patience",
        type=float,
        metavar="SECONDS",
        help="how long to wait for anything (default: by the backend's own round trip)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the `needs` marker and begin the report."""
    config.addinivalue_line("markers", "needs(*capabilities): skip where the context lacks one")
    config.stash[REPORT] = Report()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that takes a backend on each backend."""
    if "backend" in metafunc.fixturenames:
        names = metafunc.config.getoption("--backend") or list(polyexec.available_contexts())
        metafunc.parametrize("backend", names, scope="session")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what asks for a capability that the backend lacks."""
    backend = _backend_of(item)
    needed = [name for mark in item.iter_markers("needs") for name in mark.args]
    if backend is None or not needed:
        return
    lacking = [name for name in needed if name not in _capabilities(backend)]
    if lacking:
        pytest.skip(f"{backend} lacks {', '.join(lacking)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Enter each outcome into the report."""
    result: Any = yield
    backend = _backend_of(item)
    if backend is not None and item.module.__name__.startswith("polyexec.testing."):  # type: ignore[attr-defined]  # items of functions have a module
        item.config.stash[REPORT].add(backend, item, result)
    return result  # type: ignore[no-any-return]  # the wrapped hook's


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Write what each backend has, lacks and breaks."""
    for line in config.stash[REPORT].lines():
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def context(backend: str) -> Iterator[polyexec.Context]:
    """Make a context of the backend under test."""
    context = polyexec.get_context(backend)
    yield context
    context.close()


@pytest.fixture(scope="session")
def patience(context: polyexec.Context, pytestconfig: pytest.Config) -> float:
    """How many seconds to wait for what should happen: many of the backend's own round trips."""
    asked: float | None = pytestconfig.getoption("--patience")
    if asked is not None:
        return asked
    begin = time.monotonic()
    executor = context.Executor(max_workers=2)
    try:
        executor.submit(int).result(timeout=120)
        started = time.monotonic()
        for _ in range(10):
            executor.submit(int).result(timeout=120)
        round_trip = (time.monotonic() - started) / 10
    finally:
        executor.shutdown(wait=False)
    return 5 + 20 * (started - begin) + 500 * round_trip


@pytest.fixture
def patiently(patience: float) -> Callable[..., Any]:
    """Return a function that calls another one, and fails if that does not return in time."""

    def call(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        outcome: list[Any] = []
        error: list[BaseException] = []

        def run() -> None:
            try:
                outcome.append(fn(*args, **kwargs))
            except BaseException as caught:  # noqa: BLE001 - raised again where it belongs
                error.append(caught)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(patience)
        if thread.is_alive():
            pytest.fail(f"{getattr(fn, '__name__', fn)} did not return within {patience:.0f} s")
        if error:
            raise error[0]
        return outcome[0]

    return call


@pytest.fixture
def executor(
    context: polyexec.Context, patiently: Callable[..., Any]
) -> Iterator[polyexec.Executor]:
    """Make an executor with two workers, shut down after the test."""
    executor = context.Executor(max_workers=2)
    yield executor
    patiently(executor.shutdown)


@pytest.fixture
def gate(patience: float) -> Iterator[Gate]:
    """Make a gate at which tasks wait; it opens when the test ends."""
    gate = Gate(patience)
    yield gate
    gate.close()


def _backend_of(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("backend")


def _capabilities(backend: str) -> frozenset[str]:
    return polyexec.get_context(backend).capabilities
