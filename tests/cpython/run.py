"""Runs CPython's own tests of multiprocessing or concurrent.futures against a context.

python tests/cpython/run.py --suite multiprocessing --context thread

The interpreter that runs this file supplies the tests. See README.md.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from cpdriver import options as command_line
from cpdriver import results_file
from cpdriver.class_run import run_class
from cpdriver.report import Report, say
from cpdriver.selection import Selection, select
from cpdriver.session import Session, SuiteNotLoadedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpdriver.options import Options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; return the exit status."""
    options = command_line.parse(arguments)
    with tempfile.TemporaryDirectory(prefix="cpsuite-run-", ignore_cleanup_errors=True) as folder:
        session = Session(options, Path(folder))
        try:
            return _run(session)
        except SuiteNotLoadedError as error:
            sys.stderr.write(f"{error}\n")
            return 2


def _run(session: Session) -> int:
    options, started = session.options, time.monotonic()
    listing = session.discover()
    selection = select(options, listing)
    if options.list:
        _print_list(selection)
        return 0
    partial = " (in part)" if listing.partial else ""
    say(
        f"# {platform.python_version()}, {options.suite} suite ({listing.source}), "
        f"provider {options.provider}, context {options.context}{partial}"
    )
    report = _run_classes(session, selection, options)
    wall = time.monotonic() - started
    report.print_asides()
    if options.baseline:
        results_file.compare(options.baseline, report)
    if options.json:
        results = results_file.dump(options, listing, selection, report, wall)
        options.json.write_text(results, encoding="utf-8")
    report.print_summary(selection, wall)
    return 0 if report.good else 1


def _run_classes(session: Session, selection: Selection, options: Options) -> Report:
    report = Report(quiet=options.quiet)

    def run(cls: str) -> None:
        report.add(run_class(session, cls, selection.tests[cls]))

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(run, selection.in_order()))
    return report


def _print_list(selection: Selection) -> None:
    names = [f"{cls}.{test}" for cls, tests in selection.tests.items() for test in tests]
    for name in names:
        say(f"run      {name}")
    for name, rule in selection.excluded.items():
        say(f"{rule.category:8} {name}  -- {rule.reason}")
    say(f"{len(names)} to run, {len(selection.excluded)} not applicable")


if __name__ == "__main__":
    sys.exit(main())
