"""Results on standard output, failures on standard error."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, BinaryIO

import click

from polyexec.cli._messages import complain, shortened_repr, write_error

if TYPE_CHECKING:
    from polyexec.cli._chunk import Outcome


class Output:
    """Writes outcomes and counts them; the caller flushes before it waits.

    `BrokenPipeError` means that the reader of the results has gone.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.items = 0
        self.failed = 0

    def write(self, items: list[str], outcomes: list[Outcome]) -> None:
        """Write the outcome of each of *items*."""
        lines = []
        for item, outcome in zip(items, outcomes, strict=True):
            if outcome.line is not None:
                lines.append(outcome.line)
            if outcome.error is not None:
                self._write_lines(lines)
                lines.clear()
                self._report(item, outcome)
        self._write_lines(lines)
        self.items += len(items)

    def flush(self) -> None:
        """Hand what was written to whoever reads it."""
        self.stream.flush()

    def summary(self) -> None:
        """Say how many items have failed, if any."""
        if self.failed:
            complain(f"{self.failed} of {self.items} items failed")

    def _write_lines(self, lines: list[str]) -> None:
        if lines:
            lines.append("")  # for the last newline
            self.stream.write(encoded("\n".join(lines)))

    def _report(self, item: str, outcome: Outcome) -> None:
        self.failed += 1
        self.flush()  # so that both streams, sent to one place, are in order there
        complain(f"{shortened_repr(item)} failed: {outcome.error}")
        if outcome.traceback:
            write_error(outcome.traceback)


def encoded(text: str) -> bytes:
    """Return *text* as UTF-8, with the bytes back that came in as lone surrogates."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that no byte stands behind
        return text.encode("utf-8", "backslashreplace")


def standard_output() -> BinaryIO:
    """Return standard output for bytes, or raise a one-line error if it is closed."""
    if sys.stdout is None:
        raise click.UsageError("standard output is closed; unwanted results go to /dev/null")
    return sys.stdout.buffer


def discard_standard_output() -> None:
    """Let what is still buffered go nowhere, so that the flush at interpreter exit is quiet."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
