"""Numbers on the command line, checked so that the error says what would do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable


class CheckedNumber(click.ParamType):
    """A number made by *convert* that fulfils *check*; *demand* says so in words."""

    def __init__(
        self,
        name: str,
        convert: Callable[[str], float],
        check: Callable[[float], bool],
        demand: str,
    ) -> None:
        self.name = name
        self._convert = convert
        self._check = check
        self._demand = demand

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number that *value* spells."""
        try:
            number = self._convert(value)
        except ValueError:
            number = math.nan
        if self._check(number):
            return number
        option = param.opts[0] if param else self.name
        raise click.UsageError(f"{option} must be {self._demand}, not {value!r}", ctx)


AT_LEAST_1 = CheckedNumber("n", int, lambda n: n >= 1, "a whole number of 1 or more")
AT_LEAST_0 = CheckedNumber("n", int, lambda n: n >= 0, "a whole number of 0 or more")
SECONDS = CheckedNumber(
    "seconds", float, lambda s: 0 < s < math.inf, "a number of seconds greater than 0"
)
