"""Numbers on the command line, checked so that the error says what would do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[click.Context, click.Parameter, str | None], float | None]


def whole_number(least: int) -> Check:
    """Return a callback for an option whose value is an integer of *least* or more."""

    def check(_: click.Context, option: click.Parameter, text: str | None) -> int | None:
        if text is None:
            return None
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise _wrong(option, f"a whole number of {least} or more", text)
        return number

    return check


def seconds(_: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """Check an option whose value is a finite time."""
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise _wrong(option, "a number of seconds greater than 0", text)
    return number


def _wrong(option: click.Parameter, demand: str, text: str) -> click.UsageError:
    return click.UsageError(f"{option.opts[0]} must be {demand}, not {text!r}")
