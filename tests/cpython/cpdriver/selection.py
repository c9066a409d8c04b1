"""Which tests a run runs, in which order, and which it leaves out by which rule."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cpdriver import rules

if TYPE_CHECKING:
    from cpdriver.options import Options
    from cpdriver.session import Listing

# Started first, so that jobs side by side end together.
_LONG = (
    "ProcessPoolExecutorDeadlockTest",
    "WithProcessesTestProcess",
    "TestWait",
    "WithProcessesTestBarrier",
    "WithManagerTestBarrier",
    "WithProcessesTestPool",
    "WithManagerTestPool",
    "ProcessPoolShutdownTest",
    "ProcessPoolWaitTest",
    "ProcessPoolExecutorTest",
    "WithProcessesTestCondition",
    "TestSyncManagerTypes",
    "WithManagerTestCondition",
    "WithProcessesTestSubclassingProcess",
)


@dataclass
class Selection:
    """Tests to run by class, tests that do not apply, and how many slow ones are left out."""

    tests: dict[str, list[str]] = field(default_factory=dict)
    excluded: dict[str, rules.Rule] = field(default_factory=dict)
    slow: int = 0

    def in_order(self) -> list[str]:
        """Return the classes, those that take long first."""
        rank = {cls: place for place, cls in enumerate(_LONG)}
        return sorted(self.tests, key=lambda cls: rank.get(cls, len(_LONG)))


def select(options: Options, listing: Listing) -> Selection:
    """Choose from *listing* what *options* ask for and the rules do not exclude."""
    known = rules.load()
    target = rules.Target(options.suite, options.context, sys.version_info[1], listing.source_minor)
    selection = Selection()
    for cls, test in [(cls, test) for cls, tests in listing.tests.items() for test in tests]:
        name = f"{cls}.{test}"
        if options.only and not _asked_for(options.only, name):
            continue
        rule = None if options.ignore_applicability else known.find(name, target)
        if rule is not None:
            selection.excluded[name] = rule
        elif options.fast and known.is_slow(name, options.suite):
            selection.slow += 1
        else:
            selection.tests.setdefault(cls, []).append(test)
    return selection


def _asked_for(patterns: str, name: str) -> bool:
    """Tell whether ``--only`` names the test, its class, or, without wildcards, a part of it."""
    return any(
        rules.matches((pattern, f"{pattern}.*"), name)
        or (not set("*?[").intersection(pattern) and pattern in name)
        for pattern in patterns.split(",")
    )
