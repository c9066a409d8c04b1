"""The results as Markdown: first the aims and how far we came, then a table for each row."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from typing import TYPE_CHECKING

from benchmarks import judging
from benchmarks.candidates import WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.judging import Results
    from benchmarks.model import Aim, Metric, Row, Values

__all__ = ["number", "ratio", "render", "spliced"]

LIBRARIES = ("loky", "joblib", "mpire", "pebble", "ray", "numpy")
CLUSTER_LIBRARIES = ("pyzmq", "distributed", "ipyparallel", "parsl", "ray", "numpy")
TITLE, CLUSTER_TITLE = "# Benchmarks", "# Benchmarks of clusters"


def render(
    rows: Sequence[Row],
    results: dict[str, Results],
    *,
    quick: bool,
    seconds: float,
    rounds: int | None = None,
    cluster: bool = False,
) -> str:
    """Return the whole report, of pools or of clusters."""
    head = _head(quick=quick, seconds=seconds, rounds=rounds, cluster=cluster)
    parts = [head, _aims(rows, results)]
    parts += [_row(row, results[row.name]) for row in rows]
    return "\n\n".join(parts) + "\n"


def spliced(text: str, new: str) -> str:
    """Return *text*, the reports of pools and of clusters, with the *new* one in its place."""
    pools, _, clusters = text.partition(f"{CLUSTER_TITLE}\n")
    if new.startswith(f"{CLUSTER_TITLE}\n"):
        return f"{pools.rstrip()}\n\n{new}".lstrip()
    return f"{new}\n{CLUSTER_TITLE}\n{clusters}" if clusters else new


def number(value: float | str) -> str:
    """Return *value* with three digits that count; a sentence as it is."""
    if isinstance(value, str):
        return value
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return f"{value:.4f}".rstrip("0").rstrip(".") if "e" in text else text


def ratio(value: float) -> str:
    """Return *value* as it is said: 1/20 of another, or 3 times as much."""
    if value <= 0:
        return number(value)
    return (
        f"1/{number(1 / value)}" if value < 0.5 else f"{value:.2f}" if value < 10 else number(value)
    )


def _head(*, quick: bool, seconds: float, rounds: int | None, cluster: bool) -> str:
    command = f"python tests/benchmarks/run.py{' --cluster' if cluster else ''}"
    command += " --quick" if quick else ""
    command += f" --rounds {rounds}" if rounds else ""
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    libraries = CLUSTER_LIBRARIES if cluster else LIBRARIES
    python = f"Python {platform.python_version()}, {', '.join(_versions(libraries))}"
    title = CLUSTER_TITLE if cluster else TITLE
    return (
        f"{title}\n\nWritten by `{command}` in {seconds:.0f} s: {system}, {python}.\n\n"
        f"Every pool has {WORKERS} workers and is warm, unless said otherwise. Each measurement is "
        "a process of its own; the rounds go through all candidates in turn, and what is shown is "
        "the median of the rounds. Rates swing on machines that are shared: look at the ratios, "
        "which compare measurements of one round, and at the processor time (CPU), which is that "
        "of all processes of a pool together with the program's. "
        + ("A quick run has fewer tasks, rounds and peers." if quick else "")
    ).rstrip()


def _versions(libraries: Iterable[str]) -> Iterable[str]:
    for name in libraries:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"no {name}"


def _aims(rows: Sequence[Row], results: dict[str, Results]) -> str:
    body = [_aim(row, aim, results[row.name]) for row in rows for aim in row.aims]
    head = ["| row | aim | reached | |", "| --- | --- | --- | --- |"]
    return "\n".join(["## Aims, and what was reached", "", *head, *body])


def _aim(row: Row, aim: Aim, results: Results) -> str:
    verdicts = judging.verdicts(row, aim, results)
    show = ratio if aim.against else number
    reached = ", ".join(
        f"{verdict.label.removeprefix('polyexec ')} "
        f"{'-' if verdict.reached is None else show(verdict.reached)}"
        for verdict in verdicts
    )
    met = [verdict.met for verdict in verdicts]
    said = "met" if all(met) else "met in part" if any(met) else "**missed**"
    if all(verdict.reached is None for verdict in verdicts):
        said = "not measured"
    return f"| {row.name} | {aim.text} | {reached} | {said} |"


def _row(row: Row, results: Results) -> str:
    rounds = max(len(done) for done in results.values())
    about = f"{row.about} {rounds} round{'s' if rounds > 1 else ''}."
    if row.reference:
        about += f" In brackets: the ratio to {row.reference}."
    columns = [metric.heading for metric in row.metrics]
    head = [f"| | {' | '.join(columns)} |", f"| --- |{' --: |' * len(columns)}"]
    body = [_line(row, label, results) for label in results]
    return "\n".join([f"## {row.name}: {row.title}", "", about, "", *head, *body])


def _line(row: Row, label: str, results: Results) -> str:
    rounds = results[label]
    reason = _reason(rounds)
    cells = [_cell(row, metric, label, results) for metric in row.metrics]
    if reason and not any("failed" not in values and "lacks" not in values for values in rounds):
        cells = [reason, *[""] * (len(cells) - 1)]
    elif reason:
        cells[-1] += f" (in part: {reason})"
    return f"| {label} | {' | '.join(cells)} |"


def _cell(row: Row, metric: Metric, label: str, results: Results) -> str:
    value = judging.typical(results[label], metric.key)
    if value is None:
        return "-"
    text = number(value)
    if metric.ratio and row.reference and label != row.reference:
        found = judging.ratios(results, label, (row.reference,), metric.key, more=metric.more)
        if found:
            text += f" ({ratio(statistics.median(found))})"
    return text


def _reason(rounds: Sequence[Values]) -> str:
    for values in rounds:
        if "lacks" in values:
            return f"- ({values['lacks']})"
        if "failed" in values:
            return f"failed: {values['failed']}".replace("|", "/")
    return ""
