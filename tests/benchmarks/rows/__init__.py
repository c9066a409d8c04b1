"""The rows of the benchmarks, in the order of the report."""

from __future__ import annotations

from benchmarks.rows import data, durations, idling, quantity, simulated, starting, tiny

__all__ = ["ROWS"]

ROWS = (
    *tiny.ROWS,
    *durations.ROWS,
    *data.ROWS,
    *starting.ROWS,
    *idling.ROWS,
    *quantity.ROWS,
    *simulated.ROWS,
)
