"""Results as JSON: written by ``--json``, compared with by ``--baseline``."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING, Any

from cpdriver.report import Report, say

if TYPE_CHECKING:
    from pathlib import Path

    from cpdriver.ledger import Verdict
    from cpdriver.options import Options
    from cpdriver.selection import Selection
    from cpdriver.session import Listing


def dump(
    options: Options, listing: Listing, selection: Selection, report: Report, wall: float
) -> str:
    """Return all that came out of a run of *wall* seconds, as JSON."""
    data = {
        "python": platform.python_version(),
        "suite": options.suite,
        "provider": options.provider,
        "context": options.context,
        "source": listing.source,
        "fast": options.fast,
        "only": options.only,
        "wall_s": round(wall, 1),
        "passed": report.count("pass"),
        "failed": len(report.failed()),
        "skipped": report.count("skip"),
        "applicable": len(report.verdicts),
        "not_applicable": [
            {"id": name, "category": rule.category, "reason": rule.reason}
            for name, rule in selection.excluded.items()
        ],
        "left_out_by_fast": selection.slow,
        "leaked": report.leaked,
        "env_altered": sorted(report.env_altered),
        "extra": _entries(report.incidents),
        "results": _entries(report.verdicts),
    }
    return json.dumps(data, indent=1)


def _entries(verdicts: dict[str, Verdict]) -> list[dict[str, Any]]:
    return [
        {"id": name, "status": verdict.status, "msg": verdict.message, "dur": verdict.seconds}
        for name, verdict in sorted(verdicts.items())
    ]


def read(path: Path) -> dict[str, Any] | None:
    """Return results written earlier, or None if there are none."""
    if not path.exists():
        return None
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def compare(baseline: Path, report: Report) -> None:
    """Print what passed in *baseline* and did not in this run."""
    results = json.loads(baseline.read_text(encoding="utf-8"))["results"]
    passed = {entry["id"] for entry in results if entry["status"] == "pass"}
    common = {name: verdict for name, verdict in report.verdicts.items() if name in passed}
    worse = {name: verdict for name, verdict in common.items() if verdict.status != "pass"}
    if not worse:
        say(f"all that passed in the baseline passed here, too ({len(common)} tests)")
        return
    say("passed in the baseline, not here:")
    for name, verdict in worse.items():
        reason = f"  {verdict.message}" if verdict.status == "skip" else ""
        say(f"  {verdict.status:7} {name}{reason}")
