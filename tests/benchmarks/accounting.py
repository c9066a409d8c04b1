"""Processor time and memory of a process and all its descendants; Linux only.

Processor time comes from each process's own clock (`clock_getcpuclockid`), in nanoseconds and with
threads that have ended included, for /proc/PID/stat counts ticks of ten milliseconds. Descendants
whose parent died are ours all the same, once `adopt_orphans` was called.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_PR_SET_CHILD_SUBREAPER = 36
_CPUCLOCK_SCHED = 2
_TICK = 1 / os.sysconf("SC_CLK_TCK")
#: Where, after the command's name, /proc/PID/stat has the parent and the time of reaped children.
_PPID, _CUTIME, _CSTIME = 1, 13, 14


def adopt_orphans() -> None:
    """Have descendants whose parent ends become this process's children, and not init's."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(root: int) -> list[int]:
    """Return the live processes below *root*, without itself."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - a walk that costs little
        if entry.isdecimal():
            with contextlib.suppress(OSError):
                children.setdefault(int(_stat(int(entry))[_PPID]), []).append(int(entry))
    found: list[int] = []
    new = [root]
    while new:
        new = [child for parent in new for child in children.get(parent, ())]
        found += new
    return found


def processor_time(pid: int) -> float:
    """Return the seconds that *pid* has used, with those of children that it has reaped."""
    stat = _stat(pid)
    reaped = (int(stat[_CUTIME]) + int(stat[_CSTIME])) * _TICK
    return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED) / 1e9 + reaped


def below(root: int) -> float:
    """Return the seconds that the descendants of *root* have used."""
    total = 0.0
    for pid in descendants(root):
        with contextlib.suppress(OSError):  # it ended in between, and is in its parent's sum
            total += processor_time(pid)
    return total


def memory(pid: int) -> tuple[float, float]:
    """Return the proportional and the unique set size of *pid*, in bytes."""
    pss = uss = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name == "Pss":
            pss = int(rest.split()[0])
        elif name in {"Private_Clean", "Private_Dirty"}:
            uss += int(rest.split()[0])
    return pss * 1024, uss * 1024


def tree_memory() -> float:
    """Return the proportional set size of this process and its descendants, in bytes."""
    total = 0.0
    for pid in [os.getpid(), *descendants(os.getpid())]:
        with contextlib.suppress(OSError):
            total += memory(pid)[0]
    return total


def _stat(pid: int) -> list[str]:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        return file.read().rpartition(")")[2].split()


class Window:
    """Measures a `with` block: *wall* seconds, and *cpu* seconds of the whole tree.

    The tree is walked before and after, outside of what is measured.
    """

    def __enter__(self) -> Window:
        self._below = below(os.getpid())
        self._reaped = _reaped()
        self._own = time.process_time_ns()
        self._began = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.wall = time.perf_counter() - self._began
        own = (time.process_time_ns() - self._own) / 1e9
        self.cpu = own + _reaped() - self._reaped + below(os.getpid()) - self._below


def _reaped() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
