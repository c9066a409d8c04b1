"""A program that has no descriptors left: its line tries again, until there are some."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest
import zmq

from polyexec_zmq._zmqconnection import ZmqConnection

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def connection() -> Iterator[ZmqConnection]:
    """One that has had a session, with a head that has not answered."""
    head = zmq.Context()
    router = head.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    connection = ZmqConnection(f"tcp://127.0.0.1:{port}", None)
    assert connection.open() is None
    connection.close(0)
    yield connection
    connection.close(0)
    connection.end()
    head.destroy(linger=0)


def test_without_descriptors_a_session_can_not_begin_and_later_it_can(
    connection: ZmqConnection,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        why = connection.open()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert why == "no socket can be opened here (Too many open files), so raise `ulimit -n`"
    connection.close(0)
    assert connection.open() is None


def test_an_address_that_makes_no_sense_is_no_shortage() -> None:
    connection = ZmqConnection("tcp://nowhere", None)
    with pytest.raises(zmq.ZMQError, match="Invalid argument"):
        connection.open()
    connection.close(0)
    connection.end()
