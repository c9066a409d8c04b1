"""The loky context: an Executor, and what core derives from it."""

from __future__ import annotations

from typing import Any

import loky

from polyexec import Context, capabilities
from polyexec_loky._executor import LokyExecutor


class LokyContext(Context):
    """Tasks in processes that loky starts with a fresh interpreter, without importing `__main__`.

    It has no Process, Queue, Lock and the like.
    """

    name = "loky"
    capabilities = frozenset({capabilities.INITIALIZER, capabilities.ISOLATION})

    def Executor(self, max_workers: int | None = None, **options: Any) -> LokyExecutor:
        """Return an executor on loky's processes; options as for `LokyExecutor`."""
        return LokyExecutor(self, max_workers, **options)

    def default_workers(self) -> int:
        """Return loky's count of the CPUs that affinity, cgroup and LOKY_MAX_CPU_COUNT allow."""
        return int(loky.cpu_count())
