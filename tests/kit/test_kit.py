"""The conformance kit itself: it runs for a stranger, reports, and can fail in every test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

LIAR = Path(__file__).parent / "liar"


def _run_kit(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the kit as a stranger does: in an empty folder, with nothing but its command."""
    kit = ["-p", "polyexec.testing.plugin", "--pyargs", "polyexec.testing", *options]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *kit],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(LIAR)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def _outcomes(report: Path) -> dict[str, set[str]]:
    """Map each test function to the outcomes that its variants had."""
    outcomes: dict[str, set[str]] = {}
    for case in ET.parse(report).iter("testcase"):
        if case.get("name") is None:  # an error that pytest could give to no test
            continue
        name = re.sub(r"\[.*", "", str(case.get("name")))
        ends = {child.tag for child in case if child.tag in ("failure", "error", "skipped")}
        outcomes.setdefault(name, set()).update(ends or {"passed"})
    return outcomes


@pytest.mark.timeout(300)
def test_every_promise_of_the_kit_is_broken_by_a_backend_that_lies(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    run = _run_kit(tmp_path, "--backend", "liar", "--patience", "0.3", f"--junitxml={report}")
    outcomes = _outcomes(report)
    if sys.version_info < (3, 11):
        outcomes.pop("test_the_notes_of_an_exception_arrive")  # there are none yet
    believed = [name for name, ends in outcomes.items() if not ends & {"failure", "error"}]
    assert len(outcomes) > 80, run.stdout
    assert believed == []


def test_the_report_says_what_a_backend_has_lacks_and_breaks(tmp_path: Path) -> None:
    run = _run_kit(tmp_path, "--backend", "thread", "-k", "test_submit or test_isolation")
    assert "context 'thread' (polyexec " in run.stdout
    assert re.search(r"has +priorities ", run.stdout)
    assert re.search(r"lacks +kill_running ", run.stdout)
    assert re.search(r"keeps (\d+) of \1 promises; \d more need what it lacks", run.stdout)


def test_the_report_names_the_promises_that_are_broken(tmp_path: Path) -> None:
    run = _run_kit(tmp_path, "--backend", "liar", "--patience", "0.3", "-k", "knows_its_name")
    assert "BREAKS a context knows its name" in run.stdout
    assert run.returncode == 1


def test_an_unknown_backend_is_an_error_that_names_the_installed_ones(tmp_path: Path) -> None:
    run = _run_kit(tmp_path, "--backend", "no-such", "-k", "knows_its_name")
    assert "no context is called 'no-such'" in run.stdout
    assert run.returncode != 0
