"""Lines on standard error, which may be closed."""

from __future__ import annotations

import sys
import traceback
from contextlib import suppress

LONGEST_ITEM = 200


def complain(message: str) -> None:
    """Write `polyexec: message` to standard error, or nowhere when that is closed."""
    write_error(f"polyexec: {message}\n")


def write_error(text: str) -> None:
    """Write *text* to standard error as it is."""
    if sys.stderr is not None:
        # Nobody is left to be told that standard error is gone, and the results still count.
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


def one_line(text: str) -> str:
    """Join the lines of *text* by blanks."""
    return " ".join(part.strip() for part in text.splitlines())


def describe(error: BaseException) -> str:
    """Return `TypeName: message` on one line, or `TypeName` for want of a message."""
    name = type(error).__name__
    try:
        message = one_line(str(error))
    except Exception:  # noqa: BLE001 - a user's exception may fail at saying what it is
        message = "its message could not be made"
    return f"{name}: {message}" if message else name


def full_traceback(error: BaseException, *, skip: int = 0) -> str:
    """Return the traceback as it would be printed, without its *skip* outermost frames."""
    trace = error.__traceback__
    for _ in range(skip):
        trace = trace.tb_next if trace else None
    return "".join(traceback.format_exception(type(error), error, trace))


def shortened_repr(item: str) -> str:
    """Return the repr of *item*, cut in its middle where it is long."""
    text = repr(item)
    half = LONGEST_ITEM // 2
    return text if len(text) <= LONGEST_ITEM else f"{text[:half]}…{text[-half:]}"
