"""The Executor: it packs tasks into bytes, and leaves the rest to its crew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polyexec import Executor
from polyexec.arguments import need_callable, reject_unknown
from polyexec.serialization import dumps_task
from polyexec_loky._crew import Crew
from polyexec_loky._exit import finish_at_exit

if TYPE_CHECKING:
    from polyexec import Context, Task

_OPTIONS = ("initializer", "initargs", "max_pending")


class LokyExecutor(Executor):
    """An executor on loky's processes, which are started on demand.

    *initializer* is called with *initargs* in each process before its first task. *max_pending*
    bounds accepted tasks that have not ended.
    """

    def __init__(self, context: Context, max_workers: int | None = None, **options: Any) -> None:
        reject_unknown("Executor() of context 'loky'", options, _OPTIONS)
        initializer = options.get("initializer")
        if initializer is not None:
            need_callable("initializer", initializer)
        super().__init__(context, max_workers, max_pending=options.get("max_pending"))
        self._crew = Crew(self, initializer, tuple(options.get("initargs", ())))
        finish_at_exit(self)

    def accept(self, task: Task) -> None:
        """Pack *task* here, in the submitter's thread, and queue it for a worker."""
        self._crew.put(task, dumps_task(task))

    def stop(self, wait: bool) -> None:  # noqa: FBT001 - the interface's signature
        """Have the workers end."""
        self._crew.close()
        if wait:
            self._crew.join()

    def start_workers(self) -> None:
        """Start all workers."""
        super().start_workers()
        self._crew.hire_all()

    def withdraw(self, task: Task) -> bool:
        """Take *task* out of the queue; once handed to a worker it counts as running."""
        self._crew.forget(task)
        return True

    def drop_tasks(self) -> None:
        """Cancel what waits and kill what runs: the interpreter exits, and must not wait."""
        self.shutdown(wait=False, cancel_futures=True)
        self._crew.kill()
