"""The account of one test class: who is charged with what a process did or left undone.

A state machine without I/O. It takes the events of the processes that run the class, one process
after the other, and holds a verdict per test in the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED = ("fail", "error", "timeout")


class Verdict(NamedTuple):
    """How a test ended: pass, skip, fail, error or timeout."""

    status: str
    message: str = ""
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Tell whether it counts as a failure."""
        return self.status in FAILED

    def at(self, place: str) -> Verdict:
        """Return the same verdict, its message saying where it happened."""
        return self._replace(message=f"{place}: {self.message}")


class Ledger:
    """Verdicts on *tests* of the class *cls*; ``begin``, ``take`` and ``end`` once per process."""

    def __init__(self, cls: str, tests: Sequence[str]) -> None:
        self.cls = cls
        self.tests = list(tests)
        self.verdicts: dict[str, Verdict] = {}
        self.incidents: dict[str, Verdict] = {}  # failures that are no test's
        self.env_altered = False
        self.leaked: list[str] = []  # commands of processes left behind
        self.begin()

    def left(self) -> list[str]:
        """Return the tests that have no verdict yet."""
        return [test for test in self.tests if test not in self.verdicts]

    def begin(self) -> None:
        """Open the account of a new process, which runs all that is left."""
        self._todo = self.left()
        self._current: str | None = None
        self._fixture: tuple[str, Verdict] | None = None
        self.done = False

    def take(self, event: dict[str, Any]) -> None:
        """Take an event of the process."""
        kind = event["ev"]
        if kind == "start":
            self._current = event["test"]
        elif kind == "stop":
            self._current = None
            verdict = Verdict(event["status"], event["msg"], event["dur"])
            self.verdicts[event["test"]] = verdict
        elif kind == "fixture":
            self._fixture = (event["where"], Verdict(event["status"], event["msg"]))
        elif kind == "done":
            self.done = True
            self.env_altered |= event["env_altered"]

    def end(self, failure: Verdict | None) -> None:
        """Close the process's account: it failed as a whole by *failure*, or ended well."""
        if failure is not None:
            self._charge(failure)
        if self._fixture is not None:
            self._charge_fixture(*self._fixture)
        if self.left() == self._todo:  # nothing moved: another process would not do better
            self._charge_all(Verdict("error", "the test process gave no result"))

    def _charge(self, failure: Verdict) -> None:
        left = self.left()
        if self._current is not None:
            self.verdicts[self._current] = failure
        elif self.done:
            self._add_incident("interpreter exit", failure)
        elif left == self._todo:
            self._charge_all(failure.at("before the first test"))
        elif left:
            self.verdicts[left[0]] = failure.at("between tests")
        else:
            self._add_incident("tearDownClass", failure)

    def _charge_fixture(self, where: str, verdict: Verdict) -> None:
        if not self.left():
            if verdict.failed:
                self._add_incident(where, verdict)
        elif self.done:
            self._charge_all(verdict.at(where))

    def _charge_all(self, verdict: Verdict) -> None:
        self.verdicts.update(dict.fromkeys(self.left(), verdict))

    def _add_incident(self, where: str, verdict: Verdict) -> None:
        self.incidents[f"{self.cls} [{where}]"] = verdict
