"""What members of one cluster must have in common, and how they differ."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING, Any

from polyexec_zmq import _wire as wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAMES = ("protocol", "polyexec", "python", "implementation", "cloudpickle")


def versions(packages: Iterable[str] = ()) -> dict[str, Any]:
    """Return this interpreter's, and those of the distributions *packages*."""
    from importlib.metadata import PackageNotFoundError, version

    import polyexec

    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return {
        "protocol": wire.PROTOCOL,
        "polyexec": polyexec.__version__,
        "python": "{}.{}".format(*sys.version_info),
        "implementation": platform.python_implementation(),
        "packages": found,
    }


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """Return what is different, line by line, None if nothing is that matters."""
    lines = [
        f"{name}: {theirs.get(name)} there, {ours[name]} at the head"
        for name in _NAMES
        if name in ours and theirs.get(name) != ours[name]
    ]
    others = theirs.get("packages") or {}
    for name, version in (ours.get("packages") or {}).items():
        if others.get(name) != version:
            lines.append(f"{name}: {others.get(name) or 'missing'} there, {version} at the head")
    if not lines:
        return None
    return "its versions differ from the head's:\n  " + "\n  ".join(lines)
