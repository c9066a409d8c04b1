"""What those who join a head tell it, looked at before anything is done with it.

It comes from programs that have a key, but may be broken, or worse; and what one member tells must
not be the end of others.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from polyexec_zmq import _wire as wire
from polyexec_zmq._keys import is_key

_ROLES: Final = ("node", "client")
_LARGEST: Final = (1 << 64) - 1
#: What letters raise that make no sense.
MALFORMED: Final = (
    struct.error,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,  # of JSON that is nested too deeply
    OverflowError,
)

#: How many workers a node may be good for, or an executor may want.
_MOST_WORKERS: Final = 1_000_000
_LARGEST_SIGNAL: Final = 64
_LONGEST_TEXT: Final = 1000

_TEXTS: Final = ("name", "host", "polyexec", "python", "implementation")


def check(hello: dict[str, Any]) -> None:
    """Raise ValueError or TypeError if *hello* is not what a member says."""
    if hello["role"] not in _ROLES:
        raise ValueError(f"there are no members that are a {hello['role']!r}")
    check_number(hello["member"], 1)
    for name in _TEXTS:
        _check_text(hello.get(name, ""))
    _check_text(hello.get("incarnation") or "")
    check_number(hello.get("pid", 0))
    check_number(hello.get("cpus", 0), most=_MOST_WORKERS)
    check_number(hello.get("memory", 0))
    check_number(hello.get("attempt", 0))
    if not isinstance(hello.get("draining", False), bool):
        raise TypeError("a node is draining, or is not")
    _check_table(hello.get("packages", {}), (str, type(None)))
    _check_counts(hello.get("resources", {}))
    wire.pack_numbers(hello.get("executors", []))
    if hello["role"] == "node":
        wire.pack_numbers(hello.get("former", []))
        for station in hello["stations"]:
            _check_station(station)


def check_spec(spec: dict[str, Any]) -> None:
    """Raise ValueError or TypeError if *spec* is not what an executor may want."""
    if spec["workers"] is not None:
        check_number(spec["workers"], 1, _MOST_WORKERS)
    for name, value in spec["env"].items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError("an environment is of text")
    _check_counts(spec.get("needs", {}), 1)
    for name in ("max_tasks", "max_memory"):
        if spec[name] is not None:
            check_number(spec[name], 1)
    if spec.get("closing") is not None:
        check_number(spec["closing"], 1, _LARGEST_SIGNAL)
    idle = spec["idle_timeout"]
    if idle is not None and (isinstance(idle, bool) or not isinstance(idle, int | float)):
        raise TypeError("a timeout is a number of seconds")


def check_channel(about: dict[str, Any]) -> None:
    """Raise ValueError or TypeError if *about* is not what a channel is begun with."""
    check_number(about["number"], 1, 255)
    key = about["key"]
    if not isinstance(key, str) or not is_key(key):
        raise ValueError("what is in the place of a key is none")


def check_number(value: Any, least: int = 0, most: int = _LARGEST) -> None:
    """Raise ValueError or TypeError if *value* is not a whole number in these bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("what must be a number is none")
    if not least <= value <= most:
        raise ValueError(f"{value} is out of bounds")


def _check_counts(value: Any, least: int = 0) -> None:
    """Raise ValueError or TypeError if *value* does not say how many of what."""
    _check_table(value, (int,))
    for count in value.values():
        check_number(count, least, _MOST_WORKERS)


def _check_text(value: Any) -> None:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or not value.isprintable():
        raise ValueError("what must be a line of text is none")


def _check_table(value: Any, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, dict) or len(value) > _LONGEST_TEXT:
        raise TypeError("what must be a table is none")
    for name, entry in value.items():
        _check_text(name)
        if not isinstance(entry, kinds):
            raise TypeError(f"{name!r} has no value of the right kind")
        if isinstance(entry, str):
            _check_text(entry)


def _check_station(station: dict[str, Any]) -> None:
    check_number(station["client"], 1)
    check_number(station["executor"], most=_LARGEST)
    check_number(station["width"], most=_MOST_WORKERS)
    if not isinstance(station["closing"], bool):
        raise TypeError("a station is closing, or is not")
    wire.pack_numbers(station["jobs"])
    for letter, answered in station["answered"]:
        check_number(letter)
        wire.pack_numbers(answered)
    _check_table(station["units"], (list,))
    for numbers in station["units"].values():
        wire.pack_numbers(numbers)
