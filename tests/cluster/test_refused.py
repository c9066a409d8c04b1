"""A line to an address where connections are refused at once."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

import polyexec


def refuse(server: socket.socket) -> None:
    """Take connections, and reset them, until *server* is shut down."""
    while True:
        try:
            sock, _ = server.accept()
        except OSError:
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


@pytest.mark.parametrize("_", range(3))
def test_no_wait_is_for_ever_where_connections_are_reset(_: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=refuse, args=(server,), daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        context = polyexec.get_context("zmq", address=address, insecure=True, connect_timeout=1)
        with context, pytest.raises(polyexec.ClusterError, match="no head at"):
            context.Executor(1).submit(int)
        server.shutdown(socket.SHUT_RDWR)
