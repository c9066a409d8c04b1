"""The rows of the benchmarks, in the order of the report."""

from __future__ import annotations

from benchmarks.rows import (
    clustered,
    data,
    durations,
    encrypted,
    heads,
    idling,
    quantity,
    simulated,
    starting,
    tiny,
)

__all__ = ["CLUSTER_ROWS", "ROWS"]

ROWS = (
    *tiny.ROWS,
    *durations.ROWS,
    *data.ROWS,
    *starting.ROWS,
    *idling.ROWS,
    *quantity.ROWS,
    *simulated.ROWS,
)

#: Those of the cluster, which have a report of their own.
CLUSTER_ROWS = (*clustered.ROWS, *encrypted.ROWS, *heads.ROWS)
