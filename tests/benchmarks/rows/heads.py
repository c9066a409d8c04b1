"""A cluster's head alone, with more nodes and tasks than any machine has."""

from __future__ import annotations

from benchmarks import headdrive
from benchmarks.model import Aim, Metric, Row, Values, Variant

NODES = (2, 200, 1000)
BY_NODES = tuple(f"{count:,} nodes" for count in NODES)
QUEUED = (1000, 100_000, 1_000_000)
BY_QUEUED = tuple(f"{count:,} queued" for count in QUEUED)
#: How many tasks the head has for each node at a time.
BACKLOG = 64


def nodes(variant: Variant, quick: bool) -> Values:  # noqa: FBT001 - see Row
    """Measure the head with as many nodes as the variant says."""
    assert variant.parameter is not None
    tasks = 100_000 if quick else 500_000
    return {**headdrive.scaling(variant.parameter, tasks, BACKLOG), "tasks": float(tasks)}


def queue(variant: Variant, quick: bool) -> Values:  # noqa: FBT001
    """Measure the head with as many tasks waiting as the variant says."""
    assert variant.parameter is not None
    return dict(headdrive.queueing(variant.parameter, 50_000 if quick else 200_000))


def _variants(labels: tuple[str, ...], parameters: tuple[int, ...]) -> list[Variant]:
    return [
        Variant(label, parameter=parameter)
        for label, parameter in zip(labels, parameters, strict=True)
    ]


ROWS = (
    Row(
        "head-nodes",
        "The head alone, by nodes",
        "Simulated nodes of one worker each, tasks of 1 ms: CPU of the head for a letter that it "
        "is handed, with what it sends for that, and for a task.",
        (
            Metric("letter", "CPU per letter", "µs"),
            Metric("task", "CPU per task", "µs"),
            Metric("batch", "tasks in a letter", "", ratio=False),
            Metric("tasks", "tasks", "", ratio=False),
        ),
        nodes,
        lambda _: _variants(BY_NODES, NODES),
        (
            Aim("per letter within 1.5 of 2 nodes", "letter", 1.5, BY_NODES[:1], BY_NODES[1:]),
            Aim("per task within 3 of 2 nodes", "task", 3.0, BY_NODES[:1], BY_NODES[1:]),
        ),
        reference=BY_NODES[0],
        limit=(300.0, 60.0),
    ),
    Row(
        "head-queue",
        "The head alone, by tasks that wait",
        "No-op tasks that wait at the head, whose calls are 16 bytes long: CPU to take one, CPU of "
        "one from submit to result behind the others, and resident memory of each, its call "
        "included.",
        (
            Metric("accept", "CPU to take one", "µs"),
            Metric("task", "CPU per task", "µs"),
            Metric("memory", "memory each", "B", ratio=False),
        ),
        queue,
        lambda _: _variants(BY_QUEUED, QUEUED),
        (
            Aim("flat: within 1.5 of 1,000", "task", 1.5, BY_QUEUED[:1], BY_QUEUED[1:]),
            Aim("below 1,024 bytes, call included", "memory", 1024.0, (), BY_QUEUED[1:]),
        ),
        reference=BY_QUEUED[0],
        limit=(300.0, 60.0),
    ),
)
