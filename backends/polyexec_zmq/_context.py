"""The context `zmq`: a cluster's workers, of a private one if no other is named."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from polyexec import ClusterError, Context, capabilities, get_context
from polyexec.cpus import usable_cpus
from polyexec_zmq._embedded import Embedded
from polyexec_zmq._environment import ADDRESS, CONNECT_TIMEOUT, RECONNECT_TIMEOUT
from polyexec_zmq._executor import ZmqExecutor
from polyexec_zmq._hub import Hub
from polyexec_zmq._stream import StreamConnection

if TYPE_CHECKING:
    from polyexec_zmq._keys import Credentials


class Joining(NamedTuple):
    """Which cluster, and how it is joined: by contexts of one program that say the same, once.

    *patience*: how many seconds waits go on without a head; *connect_timeout*: how many the first
    connection may take. *resources* are those of a private cluster.
    """

    address: str | None
    credentials: Credentials | None
    patience: float = RECONNECT_TIMEOUT
    connect_timeout: float = CONNECT_TIMEOUT
    resources: tuple[tuple[str, int], ...] = ()


class ZmqContext(Context):
    """Workers of the cluster at *address*, or of a private one."""

    name = "zmq"
    capabilities = frozenset(
        {
            capabilities.INITIALIZER,
            capabilities.ISOLATION,
            capabilities.KILL_RUNNING,
            capabilities.MAX_TASKS_PER_CHILD,
            capabilities.MEMORY_LIMIT,
            capabilities.MULTI_HOST,
            capabilities.PRIORITIES,
            capabilities.PROPAGATE,
            capabilities.RESOURCES,
            capabilities.SURROUNDINGS,
        }
    )

    def __init__(self, joining: Joining, options: dict[str, Any] | None = None) -> None:
        super().__init__()
        self._options = options or {}
        self.joining: Joining = joining

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuilt, (self._options,))

    @property
    def cluster(self) -> Cluster:
        """Its cluster: another one in a forked child, and after `close`."""
        return _clusters.join(self)

    def hub(self) -> Hub:
        """Return the connection to the cluster, which begins at the first call."""
        return self.cluster.hub()

    def Executor(self, max_workers: int | None = None, **options: Any) -> ZmqExecutor:
        """Return an executor on the cluster's workers; options as for `ZmqExecutor`."""
        return ZmqExecutor(self, max_workers, **options)

    def default_workers(self) -> int:
        """Return how many workers an executor has if not told: as many as there are CPUs."""
        if self.joining.address is None:
            return usable_cpus()
        self.hub().connect()
        return max(int(self.hub().ask({"what": "cpus"})), 1)

    def close(self) -> None:
        """Leave the cluster, if no other context uses it; end it, if it is private.

        Tasks that have not ended fail with ClusterLostError.
        """
        _clusters.leave(self)


class Cluster:
    """One cluster, as this program has it: the connection, and the process of a private one."""

    def __init__(self, joining: Joining) -> None:
        self._joining = joining
        self._lock = threading.RLock()
        self._hub: Hub | None = None
        self._embedded: Embedded | None = None
        self.users: weakref.WeakSet[ZmqContext] = weakref.WeakSet()

    def hub(self) -> Hub:
        """Return the connection; a new one, if the last has failed."""
        with self._lock:
            if self._hub is not None and self._hub.failure is None:
                return self._hub
            hub, embedded = self._hub, self._embedded
            new = self._hub = self._open()
        # Without the lock: what was called back for the old one's loss may wait for the new one.
        _end(hub, embedded, lost=True)
        return new

    def _open(self) -> Hub:
        address, credentials, patience, connect_timeout, resources = self._joining
        if address is not None:
            from polyexec_zmq._zmqconnection import ZmqConnection

            connection = ZmqConnection(address, credentials)
            hub = Hub(address, connection, patience, connect_timeout=connect_timeout)
            hub.connect()
            return hub
        try:
            self._embedded = Embedded(usable_cpus(), "forkserver", dict(resources))
        except OSError as error:
            raise ClusterError(f"no private cluster could be started: {error}") from error
        stream = StreamConnection(self._embedded.sock)
        hub = Hub(self._embedded.address, stream, patience)
        hub.start()
        return hub

    def close(self) -> None:
        """End the connection, and what was started for it."""
        with self._lock:
            hub, self._hub = self._hub, None
            embedded, self._embedded = self._embedded, None
        _end(hub, embedded)

    def abandon(self) -> None:
        """Let go of the private one's process, in this forked child: it is the parent's."""
        if self._embedded is not None:
            self._embedded.abandon()


def _end(hub: Hub | None, embedded: Embedded | None, *, lost: bool = False) -> None:
    if hub is not None:
        hub.close()
    if embedded is not None:
        embedded.close(at_once=lost)


class Clusters:
    """The clusters that this process uses, each by what its contexts name."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._clusters: dict[Any, Cluster] = {}

    def join(self, context: ZmqContext) -> Cluster:
        """Return the cluster, for *context* to use."""
        with self._lock:
            key = context.joining
            cluster = self._clusters.setdefault(key, Cluster(key))
            cluster.users.add(context)
            return cluster

    def leave(self, context: ZmqContext) -> None:
        """Take note that *context* uses its cluster no more."""
        with self._lock:
            cluster = self._clusters.get(context.joining)
            if cluster is None or context not in cluster.users:
                return
            cluster.users.discard(context)
            gone = not cluster.users
            if gone:
                del self._clusters[context.joining]
        if gone:
            cluster.close()

    def close(self) -> None:
        """Leave all, for the program ends."""
        for cluster in list(self._clusters.values()):
            cluster.close()

    def abandon(self) -> None:
        """Forget the parent's, in this forked child; its sockets must not be closed here."""
        for cluster in self._clusters.values():
            cluster.abandon()
        _abandoned.append(list(self._clusters.values()))
        self._lock = threading.RLock()
        self._clusters = {}


_abandoned: list[Any] = []
_clusters = Clusters()
atexit.register(_clusters.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_clusters.abandon)


def _rebuilt(options: dict[str, Any]) -> Any:
    """Return the context in another process, which has a cluster already if it is a worker."""
    return get_context("zmq", **({} if os.environ.get(ADDRESS) else options))
