"""The kit's report: what each backend has, lacks and breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polyexec
from polyexec.capabilities import MEANINGS, MEMORY_LIMIT, MULTI_HOST, RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


#: What the kit takes a backend's word for: it has no tests of these.
UNTESTED = frozenset({MEMORY_LIMIT, MULTI_HOST, RESOURCES})


class Report:
    """Outcomes by backend, and by the promise that a test's name states."""

    def __init__(self) -> None:
        self._kept: dict[str, set[str]] = {}
        self._broken: dict[str, set[str]] = {}
        self._skipped: dict[str, set[str]] = {}

    def add(self, backend: str, item: pytest.Item, report: pytest.TestReport) -> None:
        """Take note of one phase of one test."""
        for outcomes in (self._kept, self._broken, self._skipped):
            outcomes.setdefault(backend, set())
        promise = _promise(item)
        if report.failed:
            self._broken[backend].add(promise)
        elif report.skipped:
            self._skipped[backend].add(promise)
        elif report.when == "call":
            self._kept[backend].add(promise)

    def lines(self) -> Iterator[str]:
        """Return the report's lines."""
        for backend in self._kept:
            yield from self._about(backend)

    def _about(self, backend: str) -> Iterator[str]:
        kept, broken = self._kept[backend], self._broken[backend]
        yield ""
        yield f"context {backend!r} ({polyexec.available_contexts().get(backend, 'not installed')})"
        try:
            has = polyexec.get_context(backend).capabilities
        except polyexec.PolyexecError as error:
            yield f"  can't be made: {error}"
            return
        for title, names in (
            ("has", has - UNTESTED),
            ("claims", has & UNTESTED),
            ("lacks", set(MEANINGS) - has),
        ):
            for name in sorted(names):
                yield f"  {title:<6} {name:<20} {MEANINGS.get(name, 'its own')}"
        for promise in sorted(broken):
            yield f"  BREAKS {promise}"
        total = len(kept - broken) + len(broken)
        skipped = len(self._skipped[backend])
        yield (
            f"  keeps {len(kept - broken)} of {total} promises; {skipped} more need what it lacks"
        )


def _promise(item: pytest.Item) -> str:
    name = getattr(item, "originalname", None) or item.name
    return str(name).removeprefix("test_").replace("_", " ")
