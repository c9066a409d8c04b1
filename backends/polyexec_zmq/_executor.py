"""Runs tasks on the workers of a cluster."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from polyexec_process.engine import ProcessExecutor, birth
from polyexec_zmq._remotepool import RemotePool

if TYPE_CHECKING:
    from polyexec_process.engine import Engine, Settings
    from polyexec_zmq._context import ZmqContext


class ZmqExecutor(ProcessExecutor):
    """An executor whose workers are those of a cluster's nodes, as many as *max_workers* of them.

    Options as for executors on processes.
    """

    context: ZmqContext
    chunk_seconds = 0.001

    def _open_pool(self, settings: Settings) -> Engine:
        spec = {
            "workers": self.context.wanted_workers(self._max_workers),
            "env": dict(settings.env),
            "max_tasks": settings.max_tasks,
            "max_memory": settings.max_memory,
            "idle_timeout": settings.idle_timeout,
        }
        # Born in the node's way, whatever that is; with the share of its CPUs that it says.
        self._remote = RemotePool(
            self.context.hub(),
            self._crew,
            spec,
            lambda: pickle.dumps(birth(settings, "", "forkserver", 1)),
        )
        return self._remote

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's signature
        """Refuse new tasks and, if *wait*, return once the accepted ones have ended.

        With *cancel_futures*, those that have not started are cancelled.
        """
        if cancel_futures:
            self._remote.withdraw_all()
        super().shutdown(wait, cancel_futures=cancel_futures)

    @property
    def _executor_manager_thread(self) -> Any:
        """Something that has ended once the workers have."""
        return self._remote
