"""Runs tasks on the workers of a cluster."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from polyexec_process.submitting import ProcessExecutor, birth
from polyexec_zmq._family import PoolFamily, needs_of
from polyexec_zmq._remotepool import RemotePool

if TYPE_CHECKING:
    from polyexec_process.engine import Engine
    from polyexec_process.submitting import Settings
    from polyexec_zmq._context import ZmqContext
    from polyexec_zmq._family import Needs


class ZmqExecutor(ProcessExecutor):
    """An executor whose workers are those of a cluster's nodes, as many as *max_workers* of them.

    Options as for executors on processes, and *resources*: what tasks need that do not say, by name
    and number.
    """

    context: ZmqContext
    chunk_seconds = 0.001
    is_local = False
    takes: tuple[str, ...] = (*ProcessExecutor.takes, "resources")

    def __init__(self, context: ZmqContext, max_workers: int | None = None, **options: Any) -> None:
        # One that is not told how many it has grows with its cluster, if that can.
        self._grows = max_workers is None and context.joining.address is not None
        super().__init__(context, max_workers, **options)

    def _open_pool(self, settings: Settings) -> Engine:
        spec = {
            "workers": None if self._grows else self._max_workers,
            # How many of its tasks are taken to be under way, as they are to be cancelled.
            "expected": self._max_workers,
            "env": dict(settings.env),
            "max_tasks": settings.max_tasks,
            "max_memory": settings.max_memory,
            "idle_timeout": settings.idle_timeout,
        }

        # None of this may keep the executor alive: it ends when nobody uses it any more.
        context, crew = self.context, self._crew

        def birth_of_workers() -> bytes:
            # In the node's way, whatever that is; with the share of its CPUs that it says.
            return pickle.dumps(birth(settings, "", "forkserver", 1))

        def open_pool(needs: Needs) -> RemotePool:
            own = {**spec, "needs": dict(needs)}
            return RemotePool(context.hub(), crew, own, birth_of_workers)

        self._remote = PoolFamily(open_pool, needs_of(settings.resources))
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
