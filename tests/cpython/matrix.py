"""Runs both suites on several contexts and interpreters; prints one table.

python tests/cpython/matrix.py --context thread --context fork
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cpdriver import results_file
from cpdriver.options import CONTEXTS, DEFAULT_PROVIDER, SUITES
from cpdriver.report import say

if TYPE_CHECKING:
    from collections.abc import Sequence

RUN = str(Path(__file__).parent / "run.py")


class Cell(NamedTuple):
    """One run of one suite: the interpreter and its version, the suite, the context."""

    python: str
    version: str
    suite: str
    context: str

    def row(self, results: dict[str, Any] | None, wall: float) -> str:
        """Return this cell's line of the table."""
        outcome = "did not run, see the .txt"
        if results is not None:
            outcome = (
                f"{results['passed']:4} passed {results['failed']:3} failed "
                f"{results['skipped']:3} skipped of {results['applicable']:3}"
            )
        return f"{self.version:8} {self.suite:15} {self.context:10} {outcome}  {wall:4.0f}s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the matrix; return the exit status."""
    options = _parsed(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    rows, good = [], True
    for python, suite, context in itertools.product(
        options.python, options.suite or SUITES, options.context or CONTEXTS
    ):
        cell = Cell(python, _version(python), suite, context)
        row, passed = _run(cell, options)
        good = good and passed
        rows.append(row)
        say(row)
    (options.out / "table.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    say(f"results in {options.out}")
    return 0 if good else 1


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run both suites and print one table.")
    parser.add_argument("--provider", default=DEFAULT_PROVIDER)
    parser.add_argument(
        "--python", nargs="+", default=[sys.executable], help="interpreters; default: this one"
    )
    parser.add_argument("--context", action="append", help="repeat it; default: all")
    parser.add_argument("--suite", action="append", choices=SUITES, help="default: both")
    parser.add_argument("--out", type=Path, help="folder for JSON and text; default: a new one")
    parser.add_argument("--resume", action="store_true", help="keep results without a failure")
    parser.add_argument("rest", nargs="*", help="after --: more arguments for run.py")
    options = parser.parse_args(arguments)
    options.out = options.out or Path(tempfile.mkdtemp(prefix="cpsuite-matrix-"))
    return options


def _version(python: str) -> str:
    command = [python, "-c", "import platform; print(platform.python_version())"]
    return subprocess.check_output(command, text=True).strip()


def _run(cell: Cell, options: argparse.Namespace) -> tuple[str, bool]:
    """Run *cell*, unless its results are to be kept; return its row and whether it is good."""
    stem = options.out / f"{cell.version}-{cell.suite}-{cell.context}"
    results_path = Path(f"{stem}.json")
    kept = results_file.read(results_path)
    if options.resume and kept is not None and kept["failed"] == 0:
        return cell.row(kept, kept["wall_s"]), True
    results_path.unlink(missing_ok=True)
    what = ["--suite", cell.suite, "--context", cell.context, "--provider", options.provider]
    started = time.monotonic()
    with Path(f"{stem}.txt").open("w", encoding="utf-8") as log:
        status = subprocess.call(
            [cell.python, RUN, *what, "--json", str(results_path), *options.rest],
            stdout=log,
            stderr=log,
        )
    row = cell.row(results_file.read(results_path), time.monotonic() - started)
    return row, status == 0


if __name__ == "__main__":
    sys.exit(main())
