"""Which tests do not apply to which context, and why: ``applicability.toml``."""

from __future__ import annotations

import fnmatch
import operator
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterable

RULES_FILE = Path(__file__).parent.parent / "applicability.toml"
CATEGORIES = ("internal", "stdlib-module", "n/a")
_OPERATORS = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}


class RuleError(ValueError):
    """Raised when a rule has no reason, an unknown category, or a version that can't be read."""


class Target(NamedTuple):
    """What a run is about: versions are minor ones, of the interpreter and of the test sources."""

    suite: str
    context: str
    python: int
    source: int


@dataclass(frozen=True)
class Rule:
    """Excludes *tests*, globs on ``Class.test``, from *contexts*; a version may restrict it."""

    suite: str
    contexts: tuple[str, ...]
    tests: tuple[str, ...]
    category: str
    reason: str
    python: str = ">=3.0"
    source: str = ">=3.0"

    def __post_init__(self) -> None:
        if not self.reason or "\n" in self.reason:
            raise RuleError(f"the rule on {self.tests!r} needs a reason, in one line")
        if self.category not in CATEGORIES:
            raise RuleError(f"no category is called {self.category!r}; there are {CATEGORIES!r}")
        for version in (self.python, self.source):
            _admits(version, 0)

    def excludes(self, test: str, target: Target) -> bool:
        """Tell whether this rule leaves *test* out of a run about *target*."""
        return (
            self.suite == target.suite
            and (self.contexts == ("*",) or target.context in self.contexts)
            and _admits(self.python, target.python)
            and _admits(self.source, target.source)
            and matches(self.tests, test)
        )


class Rules:
    """All rules, in the file's order, and which tests are slow."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.rules = [Rule(**_with_tuples(table)) for table in data["rule"]]
        self._slow: dict[str, list[str]] = data["slow"]

    def find(self, test: str, target: Target) -> Rule | None:
        """Return the first rule that excludes *test*; None, the default, means it applies."""
        return next((rule for rule in self.rules if rule.excludes(test, target)), None)

    def is_slow(self, test: str, suite: str) -> bool:
        """Tell whether ``--fast`` leaves *test* out."""
        return matches(self._slow.get(suite, ()), test)


def load(path: Path = RULES_FILE) -> Rules:
    """Read the rules, and check their form."""
    return Rules(tomllib.loads(path.read_text(encoding="utf-8")))


def matches(globs: Iterable[str], test: str) -> bool:
    """Tell whether one of *globs* matches *test*."""
    return any(fnmatch.fnmatchcase(test, glob) for glob in globs)


def _with_tuples(table: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def _admits(version: str, minor: int) -> bool:
    """Tell whether *version*, such as ``<3.13``, admits 3.*minor*."""
    match = re.fullmatch(r"(<|<=|==|>=|>)3\.(\d+)", version)
    if match is None:
        raise RuleError(f"a rule's version reads like '<3.13', not {version!r}")
    return bool(_OPERATORS[match[1]](minor, int(match[2])))
