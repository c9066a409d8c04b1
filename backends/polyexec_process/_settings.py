"""What the options of an executor on processes come to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from polyexec.arguments import need_initializer, positive
from polyexec.namedtuple import NamedTuple
from polyexec.surroundings import Propagation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: What is no limit in effect, in seconds, and has no such odd values as are none by name.
_DECADES = 1e9


class Settings(NamedTuple):
    """Checked options; *max_memory* is in bytes, *idle_timeout* in seconds."""

    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    env: Mapping[str, str]
    max_tasks: int | None
    max_memory: int | None
    idle_timeout: float | None
    breaks: bool
    propagation: Propagation | None
    resources: Mapping[str, float]

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Settings:
        """Check *options*; raises TypeError or ValueError."""
        initializer, initargs = options.get("initializer"), options.get("initargs", ())
        need_initializer(initializer, initargs)
        lost = options.get("on_worker_lost", "replace")
        if lost not in ("replace", "break"):
            raise ValueError(f"on_worker_lost must be 'replace' or 'break', not {lost!r}")
        return cls(
            initializer,
            tuple(initargs),
            _checked_env(options),
            _limit("max_tasks_per_child", options),
            _limit("max_memory_per_child", options),
            _seconds("idle_timeout", options.get("idle_timeout")),
            lost == "break",
            Propagation.of(options.get("propagate")),
            dict(options.get("resources") or {}),
        )

    def initialize(self) -> None:
        """Call the initializer."""
        if self.initializer is not None:
            self.initializer(*self.initargs)


def _limit(name: str, options: Mapping[str, Any]) -> int | None:
    if options.get(name) is None:
        return None
    return positive(name, options[name], "leave it out for no limit")


def _checked_env(options: Mapping[str, Any]) -> dict[str, str]:
    env = dict(options.get("env") or {})
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"env must map strings to strings, not {name!r} to {value!r}")
        if not name or "=" in name or "\0" in name + value or not _is_encodable(name + value):
            raise ValueError(
                f"env can't set {name!r} to {value!r}; a name is not empty and has no '=', and "
                "neither has a NUL or what the file system's encoding lacks"
            )
    return env


def _is_encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _seconds(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}; None is no limit")
    if not value > 0:
        raise ValueError(f"{name} must be greater than 0 seconds, not {value!r}; None is no limit")
    return float(min(value, _DECADES))
