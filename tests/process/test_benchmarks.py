"""The benchmarks' parts work; nothing here depends on how fast anything is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks import accounting, headdrive, judging, report, rows, runner, simulation, workload
from benchmarks.model import OURS, Aim, Metric, Row, Values, Variant, named

if TYPE_CHECKING:
    from benchmarks.judging import Results

linux = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")

OTHER = "other"


def values_of(variant: Variant, quick: bool) -> Values:  # noqa: FBT001 - a Row's callable
    return {"cost": float(len(variant.label)), "quick": float(quick)}


ROW = Row(
    "fake",
    "A row",
    "Nothing is measured.",
    (Metric("cost", "cost", "µs"),),
    values_of,
    lambda _: named(*OURS, OTHER),
    (Aim("half of the other's", "cost", 0.5, (OTHER,)),),
    reference=OTHER,
)


def results(ours: float, other: float | None) -> Results:
    found: Results = {label: [{"cost": ours}, {"cost": 2 * ours}] for label in OURS}
    # The machine was half as fast in the second round, for all.
    found[OTHER] = (
        [{"failed": "no luck"}] * 2 if other is None else [{"cost": other}, {"cost": 2 * other}]
    )
    return found


def test_ratios_are_taken_within_a_round() -> None:
    assert judging.ratios(results(1.0, 4.0), OURS[0], (OTHER,), "cost", more=False) == [0.25] * 2


@pytest.mark.parametrize(("other", "met"), [(4.0, True), (1.5, False), (None, False)])
def test_an_aim_is_met_only_by_what_was_measured(other: float | None, met: bool) -> None:  # noqa: FBT001
    verdicts = judging.verdicts(ROW, ROW.aims[0], results(1.0, other))
    assert [verdict.met for verdict in verdicts] == [met] * len(OURS)


def test_a_report_shows_ratios_and_what_failed() -> None:
    text = report.render([ROW], {"fake": results(1.0, None)}, quick=True, seconds=1.0)
    assert "failed: no luck" in text
    assert "1/4" in report.render([ROW], {"fake": results(1.0, 4.0)}, quick=True, seconds=1.0)


def test_names_of_rows_are_unique() -> None:
    assert len({row.name for row in rows.ROWS}) == len(rows.ROWS)


@pytest.mark.parametrize("row", rows.ROWS, ids=lambda row: row.name)
def test_aims_speak_of_what_is_measured(row: Row) -> None:
    labels = {variant.label for variant in row.variants(True)}  # noqa: FBT003 - see Row
    for aim in row.aims:
        assert aim.metric in {metric.key for metric in row.metrics}
        assert labels.issuperset(aim.ours)
        assert labels.issuperset(aim.against)


def test_the_simulation_ends() -> None:
    assert simulation.cost_per_task(workers=3, tasks=100) > 0


def test_the_head_alone_is_driven() -> None:
    assert headdrive.scaling(nodes=3, tasks=200, batch=8)["task"] > 0


@linux
def test_processor_time_of_grandchildren_counts() -> None:
    grandchild = "import time\nwhile time.process_time() < 0.2: pass"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    with accounting.Window() as window:
        subprocess.run([sys.executable, "-c", child], check=True)
    assert window.cpu > 0.1


@linux
def test_memory_is_known() -> None:
    pss, uss = accounting.memory(os.getpid())
    assert pss >= uss > 0


@linux
def test_a_measurement_runs_in_a_process_of_its_own() -> None:
    row = next(row for row in rows.ROWS if row.name == "scheduler")
    values = runner.run(row, row.variants(True)[0], quick=True)  # noqa: FBT003
    assert "cpu" in values, values


def test_the_closure_is_what_no_import_finds() -> None:
    assert "<locals>" in workload.closure(b"").__qualname__


def test_no_benchmark_is_collected_as_a_test() -> None:
    folder = Path(runner.HERE)
    assert not [*folder.rglob("test_*.py"), *folder.rglob("*_test.py")]
