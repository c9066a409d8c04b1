"""The scheduler alone, with more workers than any machine has."""

from __future__ import annotations

from benchmarks import simulation
from benchmarks.model import Aim, Metric, Row, Values, Variant

WORKERS = (10, 1000, 10_000)
LABELS = tuple(f"{workers:,} workers" for workers in WORKERS)


def scheduler(variant: Variant, quick: bool) -> Values:  # noqa: FBT001
    """Measure the scheduler with as many workers as the variant says."""
    assert variant.parameter is not None
    tasks = 300_000 if quick else 1_000_000
    if variant.parameter == WORKERS[-1] and not quick:
        tasks = 10_000_000
    cost = simulation.cost_per_task(variant.parameter, tasks)
    return {"cpu": cost * 1e6, "tasks": float(tasks)}


ROWS = (
    Row(
        "scheduler",
        "The scheduler alone, simulated",
        "CPU of the scheduler and the simulation that drives it, with tasks of 1 ms: a million, "
        "and ten million on 10,000 workers (in a quick run 300,000 each).",
        (Metric("cpu", "CPU per task", "µs"), Metric("tasks", "tasks", "", ratio=False)),
        scheduler,
        lambda _: [
            Variant(label, parameter=workers)
            for label, workers in zip(LABELS, WORKERS, strict=True)
        ],
        (Aim("flat: within 1.25 of that with 10 workers", "cpu", 1.25, LABELS[:1], LABELS[1:]),),
        reference=LABELS[0],
        rounds=(1, 1),
        limit=(300.0, 30.0),
    ),
)
