"""One worker, as its parent sees it: a loky pool of a single process, and two pipes."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import threading
from typing import TYPE_CHECKING, Any

import loky

from polyexec import UnpicklableError
from polyexec_loky import _remote

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

# loky replaces a process that has grown, unseen by us; what it was handed would be lost.
_ENVIRONMENT = {"LOKY_MAX_MEMORY_LEAK_SIZE": "1e18"}
_REAPED_WITHIN = 5.0


class Worker:
    """A process that takes one task at a time; *born* ends when it has booted, or died of it."""

    def __init__(
        self, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
    ) -> None:
        far_lifeline, lifeline = multiprocessing.Pipe(duplex=False)
        self._claims, far_claims = multiprocessing.Pipe(duplex=False)
        self._pool = loky.ProcessPoolExecutor(
            1,
            initializer=_remote.boot,
            initargs=(far_lifeline, far_claims, initializer, initargs),
            env=_ENVIRONMENT,
        )
        self.born: Future[tuple[int, bytes | None]] = self._start()
        manager: Any = self._pool._executor_manager_thread  # there is one once a task was submitted
        self._manager: threading.Thread = manager
        self._process = next(iter(list(self._pool._processes.values())), None)
        if self._process is not None:
            # As long as loky: a lifeline that is cut kills the process.
            self._process._polyexec_lifeline = lifeline
        far_lifeline.close()
        far_claims.close()
        _let_go_of_far_ends(self._pool)

    def _start(self) -> Any:
        try:
            return self._pool.submit(_remote.ready)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise UnpicklableError(
                f"the initializer or its initargs can't be sent to a worker: {error}; pass what "
                "can be pickled, or open files and sockets in the initializer itself"
            ) from error

    @property
    def pid(self) -> int | None:
        """The process's id, if it ever ran."""
        return self._process.pid if self._process is not None else None

    @property
    def name(self) -> str:
        """What the worker is called in futures, hooks and errors."""
        return f"loky-{self.pid}"

    def submit(self, data: bytes) -> Future[bytes]:
        """Have the process run a packed task; raises BrokenProcessPool if it has died idle."""
        future: Future[bytes] = self._pool.submit(_remote.run, data)
        return future

    def take_claim(self) -> bool:
        """Return whether the task handed over last had begun; to be asked once per task."""
        try:
            if self._claims.poll():
                self._claims.recv_bytes()
                return True
        except (EOFError, OSError):  # the process is gone, and had claimed nothing
            pass
        return False

    def exitcode(self) -> int | None:
        """Return how the dead process ended, negative for a signal, None if that is unknown."""
        if self._process is None:
            return None
        self._process.join(_REAPED_WITHIN)
        code: int | None = self._process.exitcode
        return code

    def fate(self) -> str:
        """Return how the dead process ended, as the end of a sentence about it."""
        code = self.exitcode()
        if code is None:
            return "was lost"
        if code >= 0:
            return f"exited with code {code}"
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"

    def end(self, *, kill: bool = False) -> None:
        """Have the process end once it has nothing to do, or at once."""
        self._pool.shutdown(wait=False, kill_workers=kill)

    def join(self) -> None:
        """Return once the process is gone and loky has cleared up after it."""
        if self._manager is not threading.current_thread():
            self._manager.join()

    def is_over(self) -> bool:
        """Return whether there is nothing left to join."""
        return not self._manager.is_alive()


def _let_go_of_far_ends(pool: Any) -> None:
    # Of a pipe that we hold both ends of we learn no end. When a process dies halfway through
    # a message, loky would wait for the rest of its result, or for room for the rest of its task.
    pool._result_queue._writer.close()
    pool._call_queue._reader.close()
