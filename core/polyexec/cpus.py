"""How many CPUs a process may use: what affinity, control groups and an outer executor leave it."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["allowed_cpus", "cgroup_quota", "limit_cpus", "usable_cpus"]

_share: int | None = None


def usable_cpus() -> int:
    """Return the number of CPUs that this process may keep busy, 1 at least.

    In a worker that is its share of its executor's, so that nested executors do not multiply.
    """
    count = allowed_cpus()
    quota = cgroup_quota("/proc/self/cgroup", "/sys/fs/cgroup")
    if quota is not None:
        count = min(count, quota)
    if _share is not None:
        count = min(count, _share)
    return max(count, 1)


def limit_cpus(share: int) -> None:
    """Have this process, a worker, use no more than *share* CPUs."""
    global _share  # noqa: PLW0603 - the process's
    _share = share


def allowed_cpus() -> int:
    """Return the number of CPUs that this process may run on, by its affinity."""
    if hasattr(os, "process_cpu_count"):  # heeds -X cpu_count as well
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cgroup_quota(membership: str | Path, root: str | Path) -> int | None:
    """Return how many CPUs the control groups allow, rounded up; None for no limit.

    *membership* lists the process's groups as /proc/self/cgroup does, *root* is where they are
    mounted; see cgroups(7). A limit of a group holds for those within.
    """
    try:
        lines = _read(membership).splitlines()
    except OSError:  # no such thing here
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            quotas += _quotas(f"{root}", path, _unified)
        elif "cpu" in controllers.split(","):
            quotas += _quotas(f"{root}/cpu", path, _legacy)
    return None if not quotas else max(-int(-min(quotas) // 1), 1)


def _quotas(root: str, path: str, read: Callable[[str], float | None]) -> list[float]:
    groups = [root]
    for name in filter(None, path.split("/")):
        groups.append(f"{groups[-1]}/{name}")
    return [quota for quota in map(read, groups) if quota is not None]


def _unified(group: str) -> float | None:
    try:
        quota, period = _read(f"{group}/cpu.max").split()
    except (OSError, ValueError):  # no limit here
        return None
    return None if quota == "max" else int(quota) / int(period)


def _legacy(group: str) -> float | None:
    try:
        quota = int(_read(f"{group}/cpu.cfs_quota_us"))
        period = int(_read(f"{group}/cpu.cfs_period_us"))
    except (OSError, ValueError):  # no limit here
        return None
    return quota / period if quota > 0 else None


def _read(path: str | Path) -> str:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib takes long to import
        return file.read().decode("utf-8", "surrogateescape")
