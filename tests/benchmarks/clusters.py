"""Clusters, behind the interface of `candidates`: ours, and others', with two workers each.

Light to import, as `candidates` is.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks.candidates import POOLS, WORKERS, Candidate, LackingError, library

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

#: How many seconds a head, and a node, may take until they say that they are there.
_PATIENCE = 20.0


class PolyexecCluster(Candidate):
    """Our executor on a private cluster."""

    def open(self) -> None:
        """Make the executor."""
        import polyexec

        self.context = polyexec.get_context("zmq")
        self.pool = self.context.Executor(WORKERS)

    def close(self) -> None:
        """End the executor, and the cluster."""
        self.pool.shutdown()
        self.context.close()


class PolyexecTcp(Candidate):
    """Our executor on a cluster over loopback TCP with CURVE: a head and a node by command."""

    def open(self) -> None:
        """Start the cluster, and make the executor."""
        import importlib.util

        if importlib.util.find_spec("polyexec_zmq._cli_head") is None:
            raise LackingError("there is no `polyexec head` yet")
        import polyexec

        self.folder = _folder()
        connection = f"{self.folder}/owner.json"
        files = "--state", f"{self.folder}/state", "--connection-file", connection
        bulk = "--bulk", "tcp://127.0.0.1:*"
        bind = "--bind", "tcp://127.0.0.1:*"
        self.head = self._start("listening at", "head", *bind, *bulk, *files)
        count = str(WORKERS)
        self.node = self._start(
            "joined", "node", "--connection-file", connection, "--workers", count
        )
        self.context = polyexec.get_context("zmq", connection_file=connection)
        self.pool = self.context.Executor(WORKERS)

    def _start(self, sign: str, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command; return once it has written *sign*."""
        import subprocess
        from pathlib import Path

        written = Path(self.folder, name)
        with written.open("wb") as log:
            command = [sys.executable, "-u", "-m", "polyexec", name, *arguments]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        ends = time.monotonic() + _PATIENCE
        while sign not in written.read_text(encoding="utf-8"):
            if process.poll() is not None or time.monotonic() > ends:
                raise AssertionError(f"polyexec {name}: {written.read_text(encoding='utf-8')}")
            time.sleep(0.02)
        return process

    def close(self) -> None:
        """End the executor, and the cluster."""
        self.pool.shutdown()
        self.context.close()
        for process in (self.node, self.head):
            process.terminate()
            process.wait()


class Dask(Candidate):
    """dask.distributed: a LocalCluster of processes."""

    def open(self) -> None:
        """Start the cluster."""
        distributed = library("distributed")
        self.cluster = distributed.LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None
        )
        self.pool = distributed.Client(self.cluster)

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Start one call; it is not to be taken for another one of the same."""
        return self.pool.submit(function, *args, pure=False)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Call *function* on each of *items*."""
        return list(self.pool.gather(self.pool.map(function, items, pure=False)))

    def close(self) -> None:
        """End the cluster."""
        self.pool.close()
        self.cluster.close()


class Ipyparallel(Candidate):
    """ipyparallel: a controller, two engines, a view that balances the load."""

    def open(self) -> None:
        """Start the cluster."""
        self.cluster = library("ipyparallel").Cluster(n=WORKERS, log_level=40)
        self.client = self.cluster.start_and_connect_sync()
        self.pool = self.client.load_balanced_view()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Start one call."""
        return self.pool.apply_async(function, *args)

    def result(self, handle: Any) -> Any:
        """Wait for the call."""
        return handle.get()

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Call *function* on each of *items*."""
        return list(self.pool.map_sync(function, items))

    def close(self) -> None:
        """End the cluster."""
        self.client.close()
        self.cluster.stop_cluster_sync()


class Parsl(Candidate):
    """parsl's HighThroughputExecutor with one block, behind its data flow kernel, as it is used."""

    def open(self) -> None:
        """Start the kernel."""
        from pathlib import Path

        self.parsl = library("parsl")
        # It looks for its own programs there.
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        provider = library("parsl.providers").LocalProvider(
            init_blocks=1, min_blocks=1, max_blocks=1
        )
        executor = library("parsl.executors").HighThroughputExecutor(
            address="127.0.0.1",
            max_workers_per_node=WORKERS,
            cores_per_worker=1e-9,
            provider=provider,
        )
        config = library("parsl.config").Config(
            executors=[executor],
            run_dir=_folder(),
            initialize_logging=False,
        )
        self.pool = self.parsl.load(config)
        self.apps: dict[Any, Any] = {}

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Start one call."""
        if function not in self.apps:
            self.apps[function] = self.parsl.python_app(function)
        return self.apps[function](*args)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Start a call for each of *items*, and wait for all."""
        handles = [self.submit(function, item) for item in items]
        return [self.result(handle) for handle in handles]

    def close(self) -> None:
        """End the kernel."""
        self.pool.cleanup()


class TwoRoundTrips(Candidate):
    """No pool: a call is two round trips to a process that sends back what it gets."""

    def open(self) -> None:
        """Start the process, and connect to it."""
        import subprocess

        zmq = library("zmq")
        address = f"ipc://{_folder()}/echo"
        self.process = subprocess.Popen([sys.executable, "-c", _ECHO, address])
        self.zmq_context = zmq.Context()
        self.pool = self.zmq_context.socket(zmq.DEALER)
        self.pool.connect(address)
        self.submit(len)

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:  # noqa: ARG002
        """Send something there and back, twice."""
        for _ in range(2):
            self.pool.send_multipart([b"head", b"entries", b"bodies"])
            self.pool.recv_multipart()

    def result(self, handle: Any) -> Any:
        """Return nothing: it has been waited for."""
        return handle

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Make as many calls, and return *items*."""
        for _ in items:
            self.submit(function)
        return list(items)

    def close(self) -> None:
        """End the process."""
        self.zmq_context.destroy(linger=0)
        self.process.kill()
        self.process.wait()


_ECHO = """
import sys, zmq
sock = zmq.Context().socket(zmq.ROUTER)
sock.bind(sys.argv[1])
while True:
    sock.send_multipart(sock.recv_multipart())
"""

ZMQ = "polyexec zmq"
TCP = "polyexec zmq, TCP"
TRIPS = "two ZeroMQ round trips"
DASK = "dask"
IPYPARALLEL = "ipyparallel"
PARSL = "parsl"
PEERS = (DASK, IPYPARALLEL, PARSL, "ray")
#: By label, as in `candidates.POOLS`.
CLUSTERS: dict[str, tuple[type[Candidate], str]] = {
    ZMQ: (PolyexecCluster, ""),
    TCP: (PolyexecTcp, ""),
    TRIPS: (TwoRoundTrips, ""),
    DASK: (Dask, ""),
    IPYPARALLEL: (Ipyparallel, ""),
    PARSL: (Parsl, ""),
}


def _folder() -> str:
    """Make a folder, which goes when all has been measured."""
    import tempfile

    return tempfile.mkdtemp()


def find(label: str) -> tuple[type[Candidate], str]:
    """Return the class of that label, and its start method."""
    return POOLS.get(label) or CLUSTERS[label]
