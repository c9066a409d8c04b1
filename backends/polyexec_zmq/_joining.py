"""What the options of a context, and the environment, say about which cluster to join, and how."""

from __future__ import annotations

import importlib
import os
from typing import Any

from polyexec_zmq._context import Joining, ZmqContext
from polyexec_zmq._environment import (
    ADDRESS,
    CONNECT_TIMEOUT,
    CONNECTION_FILE,
    INSECURE,
    RECONNECT_TIMEOUT,
)
from polyexec_zmq._family import needs_of
from polyexec_zmq._keys import Credentials, check_folder, read_connection_file


def make_context(options: dict[str, Any]) -> ZmqContext:
    """Return a context; raises TypeError, ValueError or ClusterError if *options* make no sense."""
    patience = _seconds(options, "reconnect_timeout", RECONNECT_TIMEOUT)
    connect_timeout = _seconds(options, "connect_timeout", CONNECT_TIMEOUT)
    for module in options.get("ship", ()):
        _ship(module)
    address, credentials = where(options)
    resources = needs_of(options.get("resources") or {})
    if resources and address is not None:
        raise ValueError(
            f"resources are a private cluster's; the nodes of the one at {address} have their own: "
            "`polyexec node --tag`"
        )
    joining = Joining(address, credentials, patience, connect_timeout, resources)
    return ZmqContext(joining, options)


def where(options: dict[str, Any]) -> tuple[str | None, Credentials | None]:
    """Return the address and the keys that *options*, or else the environment, name."""
    file = options.get("connection_file")
    address = options.get("address")
    insecure = bool(options.get("insecure"))
    if file is None and address is None:
        file = os.environ.get(CONNECTION_FILE) or None
        address = os.environ.get(ADDRESS)
        insecure = insecure or os.environ.get(INSECURE) == "1"
    credentials: Credentials | None = None
    if file is not None:
        connection = read_connection_file(file)
        credentials = connection.credentials
        address = address or connection.address
    if address is None:
        return None, None
    if address.startswith("ipc:"):
        check_folder(address)
        return address, None
    if credentials is None and not insecure:
        raise ValueError(
            f"the cluster at {address} wants keys: pass connection_file=, the file that "
            "`polyexec head` has written"
        )
    return address, credentials


def _ship(module: Any) -> None:
    """Have what a module defines travel with the tasks, for the nodes may not have it."""
    import cloudpickle

    if isinstance(module, str):
        module = importlib.import_module(module)
    cloudpickle.register_pickle_by_value(module)


def _seconds(options: dict[str, Any], name: str, default: float) -> float:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if value <= 0:
        raise ValueError(f"{name} must be greater than 0 seconds, not {value!r}")
    return float(value)
