"""Collects verdicts as classes end, and says what came out."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cpdriver.ledger import Ledger, Verdict
    from cpdriver.selection import Selection

LONGEST_MESSAGE = 40  # lines


def say(text: str) -> None:
    """Write a line that is seen at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Report:
    """The verdicts of a run; ``add`` may be called from several threads."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._lock = threading.Lock()
        self.verdicts: dict[str, Verdict] = {}
        self.incidents: dict[str, Verdict] = {}
        self.leaked: dict[str, list[str]] = {}
        self.env_altered: list[str] = []

    def add(self, ledger: Ledger) -> None:
        """Take in a class that has ended, and print it."""
        verdicts = {f"{ledger.cls}.{test}": ledger.verdicts[test] for test in ledger.tests}
        with self._lock:
            self.verdicts |= verdicts
            self.incidents |= ledger.incidents
            if ledger.leaked:
                self.leaked[ledger.cls] = ledger.leaked
            if ledger.env_altered:
                self.env_altered.append(ledger.cls)
            for name, verdict in {**verdicts, **ledger.incidents}.items():
                self._print(name, verdict)

    def _print(self, name: str, verdict: Verdict) -> None:
        if verdict.failed:
            say(f"{verdict.status.upper():7} {name} ({verdict.seconds:.1f}s)")
            lines = verdict.message.rstrip().splitlines()[-LONGEST_MESSAGE:]
            say("\n".join(f"    | {line}" for line in lines))
        elif not self._quiet:
            reason = f"  {verdict.message}" if verdict.status == "skip" else ""
            say(f"{verdict.status:7} {name} ({verdict.seconds:.1f}s){reason}")

    def count(self, status: str) -> int:
        """Return how many tests ended in *status*."""
        return sum(verdict.status == status for verdict in self.verdicts.values())

    def failed(self) -> list[str]:
        """Return the names of what failed, incidents that are no test's included."""
        everything = {**self.verdicts, **self.incidents}
        return sorted(name for name, verdict in everything.items() if verdict.failed)

    @property
    def good(self) -> bool:
        """Tell whether something ran, and nothing failed."""
        return bool(self.verdicts) and not self.failed()

    def print_asides(self) -> None:
        """Print what is no test's failure but worth a look, then the names of all failures."""
        if self.leaked:
            counts = "; ".join(f"{cls}: {len(left)}" for cls, left in sorted(self.leaked.items()))
            say(f"left processes behind (ended by the harness): {counts}")
        if self.env_altered:
            classes = ", ".join(sorted(self.env_altered))
            say(f"test.support.environment_altered (dangling threads or processes): {classes}")
        if self.failed():
            say("\n  ".join(["not passed:", *self.failed()]))

    def print_summary(self, selection: Selection, wall: float) -> None:
        """Print the closing lines."""
        slow = f"; {selection.slow} slow ones left out" if selection.slow else ""
        say(f"({wall:.0f} s; {len(selection.excluded)} not applicable{slow})")
        say(
            f"{self.count('pass')} passed, {len(self.failed())} failed, "
            f"{self.count('skip')} skipped (of {len(self.verdicts)} applicable)"
        )
