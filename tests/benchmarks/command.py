"""The command line: which rows, how many rounds, where the results go."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import accounting, report, rows, runner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.judging import Results
    from benchmarks.model import Row

RESULTS = Path(__file__).with_name("RESULTS.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    offered = rows.CLUSTER_ROWS if options.cluster else rows.ROWS
    names = [row.name for row in offered]
    if unknown := set(options.rows).difference(names):
        parser.error(f"no row is called {unknown.pop()!r}; there are {', '.join(names)}")
    output = options.output or (None if options.rows else RESULTS)
    chosen = [row for row in offered if not options.rows or row.name in options.rows]
    accounting.adopt_orphans()
    began = time.monotonic()
    results = {row.name: measure(row, options) for row in chosen}
    text = report.render(
        chosen,
        results,
        quick=options.quick,
        seconds=time.monotonic() - began,
        rounds=options.rounds,
        cluster=options.cluster,
    )
    sys.stdout.write(text)
    if output is not None:
        before = output.read_text(encoding="utf-8") if output.exists() else ""
        output.write_text(report.spliced(before, text), encoding="utf-8")
    return 0


def measure(row: Row, options: argparse.Namespace) -> Results:
    """Run the rounds of *row*; return for each variant what each round gave."""
    variants = row.variants(options.quick)
    results: Results = {variant.label: [] for variant in variants}
    rounds = options.rounds or row.rounds[options.quick]
    for number in range(rounds):
        for variant in variants:
            done = results[variant.label]
            if done and str(done[-1].get("failed")).startswith(runner.LATE):
                done.append(done[-1])  # to wait for it again would tell nothing new
                continue
            began = time.monotonic()
            values = runner.run(row, variant, quick=options.quick)
            done.append(values)
            took = time.monotonic() - began
            said = ", ".join(f"{key} {report.number(value)}" for key, value in values.items())
            sys.stderr.write(
                f"{row.name} {number + 1}/{rounds} {variant.label}: {said} [{took:.1f} s]\n"
            )
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compare polyexec with other process pools.")
    names = ", ".join(row.name for row in rows.ROWS)
    others = ", ".join(row.name for row in rows.CLUSTER_ROWS)
    parser.add_argument(
        "rows",
        nargs="*",
        metavar="ROW",
        help=f"of {names}, or, with --cluster, of {others}; all by default",
    )
    parser.add_argument("--cluster", action="store_true", help="measure clusters, not pools")
    parser.add_argument("--rounds", type=int, help="how often each row is measured")
    parser.add_argument("--quick", action="store_true", help="fewer tasks, under two minutes")
    parser.add_argument(
        "--output",
        type=Path,
        help=f"the Markdown file to write, but for its other report; {RESULTS.name} beside this "
        "one if all rows are run",
    )
    return parser
