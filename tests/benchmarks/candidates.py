"""The pools that are compared, behind one small interface.

Light to import: the benchmark of the first result imports it, and each library has its own bill.
"""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORKERS = 2


class LackingError(Exception):
    """Raised when a candidate has no such feature; the message says what it lacks."""


def library(name: str) -> Any:
    """Import the module *name*."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise LackingError(f"{name} is not installed") from None


class Candidate:
    """A pool of two workers; *method* is the start method where there is a choice."""

    #: The module that it is of.
    module = ""
    pool: Any

    def __init__(self, method: str = "fork", chunksize: int | None = None) -> None:
        self.method = method
        self.chunksize = chunksize
        self.load()
        #: When all was imported and the pool itself was begun, of `time.monotonic_ns`.
        self.loaded: int = time.monotonic_ns()
        self.open()

    def load(self) -> None:
        """Import what making the pool takes."""
        if self.module:
            library(self.module)

    def open(self) -> None:
        """Make the pool."""
        raise NotImplementedError

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Start one call; return a handle for `result`."""
        return self.pool.submit(function, *args)

    def result(self, handle: Any) -> Any:
        """Wait for what `submit` started."""
        return handle.result()

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Call *function* on each of *items*, with the library's default arguments."""
        return list(self.pool.map(function, items))

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Make one call, and wait for its result."""
        return self.result(self.submit(function, *args))

    def calls(self, function: Callable[[int], Any], count: int) -> list[Any]:
        """Call *function* on each number below *count*, one task each."""
        handles = [self.submit(function, number) for number in range(count)]
        return [self.result(handle) for handle in handles]

    def close(self) -> None:
        """End the pool, whatever it has left to do."""
        self.pool.shutdown(wait=True, cancel_futures=True)


class Polyexec(Candidate):
    """An executor of this project."""

    def load(self) -> None:
        """Import the backend."""
        import polyexec

        self.context = polyexec.get_context(self.method)

    def open(self) -> None:
        """Make the executor."""
        self.pool = self.context.Executor(WORKERS)


class ProcessPool(Candidate):
    """concurrent.futures.ProcessPoolExecutor."""

    module = "concurrent.futures.process"

    def open(self) -> None:
        """Make the executor."""
        import concurrent.futures
        import multiprocessing

        self.pool = concurrent.futures.ProcessPoolExecutor(
            WORKERS, mp_context=multiprocessing.get_context(self.method)
        )


class MultiprocessingPool(Candidate):
    """multiprocessing.Pool."""

    module = "multiprocessing.pool"

    def open(self) -> None:
        """Make the pool."""
        import multiprocessing

        self.pool = multiprocessing.get_context(self.method).Pool(WORKERS)

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Start one call."""
        return self.pool.apply_async(function, args)

    def result(self, handle: Any) -> Any:
        """Wait for the call."""
        return handle.get()

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Call *function* on each of *items*."""
        return list(self.pool.map(function, items, self.chunksize))

    def close(self) -> None:
        """End the pool."""
        self.pool.terminate()


class Loky(Candidate):
    """loky's executor."""

    module = "loky"

    def open(self) -> None:
        """Make the executor."""
        self.pool = library("loky").ProcessPoolExecutor(WORKERS)

    def close(self) -> None:
        """End the executor."""
        self.pool.shutdown(kill_workers=True)


class Joblib(Candidate):
    """joblib.Parallel, kept open; it has no way to submit a single task."""

    module = "joblib"

    def open(self) -> None:
        """Make the pool."""
        joblib = library("joblib")
        self.delayed = joblib.delayed
        self.pool = joblib.Parallel(n_jobs=WORKERS)
        self.pool.__enter__()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:  # noqa: ARG002
        """Refuse."""
        raise LackingError("no submit")

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Call *function* on each of *items*."""
        delayed = self.delayed(function)
        return list(self.pool(delayed(item) for item in items))

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a list of one call."""
        return self.pool([self.delayed(function)(*args)])[0]

    def calls(self, function: Callable[[int], Any], count: int) -> list[Any]:
        """Run a list of calls."""
        return self.map(function, range(count))

    def close(self) -> None:
        """End the pool."""
        self.pool.__exit__(None, None, None)


class Mpire(Candidate):
    """mpire.WorkerPool, its workers kept alive."""

    module = "mpire"

    def open(self) -> None:
        """Make the pool."""
        self.pool = library("mpire").WorkerPool(WORKERS, keep_alive=True, start_method="fork")

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Start one call."""
        return self.pool.apply_async(function, args)

    def result(self, handle: Any) -> Any:
        """Wait for the call."""
        return handle.get()

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Call *function* on each of *items*."""
        return list(self.pool.map(function, items))

    def close(self) -> None:
        """End the pool."""
        self.pool.terminate()


class Pebble(Candidate):
    """pebble.ProcessPool."""

    module = "pebble"

    def open(self) -> None:
        """Make the pool."""
        import multiprocessing

        self.pool = library("pebble").ProcessPool(
            WORKERS, context=multiprocessing.get_context(self.method)
        )

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Start one call."""
        return self.pool.schedule(function, args=args)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Call *function* on each of *items*."""
        return list(self.pool.map(function, items).result())

    def close(self) -> None:
        """End the pool."""
        self.pool.stop()
        self.pool.join()


class Ray(Candidate):
    """ray on this machine alone, its remote functions made once each."""

    module = "ray"

    def open(self) -> None:
        """Start ray."""
        self.pool = library("ray")
        self.remote: dict[Any, Any] = {}
        self.pool.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Start one call."""
        if function not in self.remote:
            self.remote[function] = self.pool.remote(function)
        return self.remote[function].remote(*args)

    def result(self, handle: Any) -> Any:
        """Wait for the call."""
        return self.pool.get(handle)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Start a call for each of *items*, and wait for all."""
        return list(self.pool.get([self.submit(function, item) for item in items]))

    def close(self) -> None:
        """Stop ray."""
        self.pool.shutdown()


#: By label: the class, and the start method.
POOLS: dict[str, tuple[type[Candidate], str]] = {
    "polyexec fork": (Polyexec, "fork"),
    "polyexec forkserver": (Polyexec, "forkserver"),
    "polyexec spawn": (Polyexec, "spawn"),
    "ProcessPoolExecutor": (ProcessPool, "fork"),
    "ProcessPoolExecutor, forkserver": (ProcessPool, "forkserver"),
    "ProcessPoolExecutor, spawn": (ProcessPool, "spawn"),
    "multiprocessing.Pool": (MultiprocessingPool, "fork"),
    "multiprocessing.Pool, forkserver": (MultiprocessingPool, "forkserver"),
    "multiprocessing.Pool, spawn": (MultiprocessingPool, "spawn"),
    "loky": (Loky, "loky"),
    "joblib": (Joblib, "loky"),
    "mpire": (Mpire, "fork"),
    "pebble": (Pebble, "fork"),
    "ray": (Ray, ""),
}
