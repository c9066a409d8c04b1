"""The progress bar on standard error, where it disturbs nothing."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from rich.progress import Progress


class Update(Protocol):
    """Shows how many items are done, of how many in total where that is known."""

    def __call__(self, done: int, total: int | None) -> None:
        """Show these numbers."""


@contextmanager
def progress_bar(*, reads_stdin: bool) -> Iterator[Update]:
    """Show a bar while the body runs, if standard error is a terminal that is free for it.

    Results on the same terminal, or items typed, would tear it apart, and show progress themselves.
    """
    if (
        not _is_terminal(sys.stderr)
        or _is_terminal(sys.stdout)
        or (reads_stdin and _is_terminal(sys.stdin))
    ):
        yield lambda done, total: None  # noqa: ARG005 - the names belong to the protocol
        return
    with _bar() as bar:
        # Always shown, so that a process that has to end abruptly leaves no hidden cursor.
        bar.console.show_cursor()
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _bar() -> Progress:
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,  # the results'
        redirect_stderr=True,  # failures are shown above the bar
        transient=True,
    )


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()
