"""A unittest result that reports each test's verdict as an event."""

from __future__ import annotations

import time
import traceback
import unittest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_RANK = ("pass", "skip", "fail", "error")
_LONGEST_TRACEBACK = 6000


class EventResult(unittest.TestResult):
    """Emits start and stop per test, its status the worst that was reported in between.

    What happens outside of a test, in setUpClass or setUpModule, is emitted as ``fixture``.
    """

    def __init__(self, emit: Callable[..., None]) -> None:
        super().__init__()
        self._emit = emit
        self._reset()

    def _reset(self) -> None:
        self._started: float | None = None
        self._status: str | None = None
        self._message = ""

    def startTest(self, test: Any) -> None:
        """Report that *test* starts."""
        super().startTest(test)
        self._started = time.monotonic()
        self._emit(ev="start", test=test._testMethodName)

    def stopTest(self, test: Any) -> None:
        """Report the verdict on *test*."""
        super().stopTest(test)
        now = time.monotonic()
        # CPython 3.12.1 stops tests that a decorator skips without having started them.
        seconds = round(now - (self._started or now), 3)
        self._emit(
            ev="stop",
            test=test._testMethodName,
            status=self._status or "error",
            msg=self._message,
            dur=seconds,
        )
        self._reset()

    def _note(self, test: Any, status: str, message: str = "") -> None:
        if not hasattr(test, "_testMethodName"):  # setUpClass, setUpModule and their like
            self._emit(ev="fixture", where=str(test), status=status, msg=message)
            return
        self._status = max(self._status or status, status, key=_RANK.index)
        self._message = f"{self._message}\n{message}".strip()

    def addSuccess(self, test: Any) -> None:
        """Note a pass."""
        self._note(test, "pass")

    def addSkip(self, test: Any, reason: str) -> None:
        """Note a skip, also one inside a subtest."""
        self._note(getattr(test, "test_case", test), "skip", reason)

    def addFailure(self, test: Any, err: Any) -> None:
        """Note a failed assertion."""
        self._note(test, "fail", _formatted(err))

    def addError(self, test: Any, err: Any) -> None:
        """Note any other exception."""
        self._note(test, "error", _formatted(err))

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        """Note an expected failure as a pass."""
        del err
        self._note(test, "pass")

    def addUnexpectedSuccess(self, test: Any) -> None:
        """Note a pass that CPython does not expect as a failure."""
        self._note(test, "fail", "unexpected success")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        """Note a subtest's failure as its test's."""
        if err is not None:
            status = "fail" if issubclass(err[0], test.failureException) else "error"
            self._note(test, status, f"{subtest}\n{_formatted(err)}")


def _formatted(err: Any) -> str:
    return "".join(traceback.format_exception(*err))[-_LONGEST_TRACEBACK:]
