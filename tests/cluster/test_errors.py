"""What goes wrong when somebody wants to join says so in one line, in good time."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
import zmq

import polyexec
from cluster.commands import until
from polyexec_zmq import _wire as wire
from polyexec_zmq._loop import HeadLoop
from polyexec_zmq._state import new_key_pair
from ports import free_port

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cluster.commands import Commands, Peer

#: How many seconds a command may try here.
TIMEOUT = "3"


@pytest.fixture
def closed_port() -> int:
    """Return a port on which nobody listens."""
    return free_port()


@pytest.fixture
def mute_port() -> Iterator[int]:
    """Return a port on which somebody takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def other_service() -> Iterator[str]:
    """Return the address of a service of ZeroMQ's that is no head."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as sock:
        sock.linger = 0
        port = sock.bind_to_random_port("tcp://127.0.0.1")
        sock.rcvtimeo = 200
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    who = sock.recv_multipart()[0]
                except zmq.Again:
                    continue
                sock.send_multipart([who, b"what?"])

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{port}"
        ended.set()
        thread.join()


def _changed(file: Path, **changes: Any) -> Path:
    """Return a copy of a connection file, with changes."""
    new = file.with_name("changed.json")
    new.touch(0o600)
    new.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return new


def _line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line of a command that has failed."""
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    return str(line)


def _node(commands: Commands, file: Path) -> subprocess.CompletedProcess[str]:
    return commands.run("node", "--connection-file", str(file), "--connect-timeout", TIMEOUT)


def _insecure(commands: Commands, address: str) -> subprocess.CompletedProcess[str]:
    return commands.run("node", address, "--insecure", "--connect-timeout", TIMEOUT)


def test_a_key_that_the_head_does_not_know_is_refused(commands: Commands) -> None:
    commands.head()
    public, secret = new_key_pair()
    file = _changed(commands.connection_file, public_key=public, secret_key=secret)
    assert "does not accept this key" in _line(_node(commands, file))
    with pytest.raises(polyexec.JoinRefusedError, match="does not accept this key"):
        commands.context(file).Executor(1)


def test_a_head_with_another_key_is_not_joined(commands: Commands) -> None:
    commands.head()
    file = _changed(commands.connection_file, server_key=new_key_pair().public)
    assert "has another server key" in _line(_node(commands, file))


def test_nobody_is_joined_where_nothing_listens(commands: Commands, closed_port: int) -> None:
    line = _line(_insecure(commands, f"tcp://127.0.0.1:{closed_port}"))
    assert f"no head at tcp://127.0.0.1:{closed_port} within 3 seconds: nothing answers" in line


def test_who_says_nothing_is_no_head(commands: Commands, mute_port: int) -> None:
    line = _line(_insecure(commands, f"tcp://127.0.0.1:{mute_port}"))
    assert "does not answer as a head does" in line


def test_another_service_is_no_head(commands: Commands, other_service: str) -> None:
    assert "what answers there is no head" in _line(_insecure(commands, other_service))


def test_a_head_with_keys_is_not_joined_without(commands: Commands) -> None:
    commands.head()
    assert "wants keys" in _line(_insecure(commands, commands.address))


def test_a_head_without_keys_is_not_joined_with_some(commands: Commands) -> None:
    commands.head()
    other = commands.start("head", "--bind", "tcp://127.0.0.1:*", "--insecure")
    other.wait_for("listening at")
    address = other.out.read_text().split()[2].rstrip(";")
    file = _changed(commands.connection_file, address=address)
    assert "no head" in _line(_node(commands, file))


def test_an_address_of_tcp_without_keys_must_be_called_insecure(commands: Commands) -> None:
    line = _line(commands.run("node", "tcp://127.0.0.1:1"))
    assert "wants keys: pass --connection-file" in line
    with pytest.raises(ValueError, match="wants keys"):
        polyexec.get_context("zmq", address="tcp://127.0.0.1:1")
    with pytest.raises(ValueError, match="without keys"):
        HeadLoop("tcp://127.0.0.1:*")


def test_an_insecure_cluster_works_if_it_is_called_so(commands: Commands) -> None:
    head = commands.start("head", "--bind", "tcp://127.0.0.1:*", "--insecure")
    head.wait_for("listening at")
    address = head.out.read_text().split()[2].rstrip(";")
    node = commands.start("node", address, "--insecure", "--workers", "1")
    node.wait_for("joined")
    context = polyexec.get_context("zmq", address=address, insecure=True)
    with context, context.Executor(1) as executor:
        assert executor.submit(abs, -1).result() == 1


def test_a_local_socket_in_a_private_folder_needs_no_keys(commands: Commands) -> None:
    address = f"ipc://{commands.folder}/sock"
    commands.start("head", "--bind", address).wait_for("listening at")
    commands.start("node", address, "--workers", "1").wait_for("joined")
    with polyexec.get_context("zmq", address=address) as context, context.Executor(1) as executor:
        assert executor.submit(abs, -1).result() == 1


def test_a_local_socket_where_others_may_go_is_refused(commands: Commands) -> None:
    commands.folder.chmod(0o755)
    address = f"ipc://{commands.folder}/sock"
    assert "others may enter" in _line(commands.run("head", "--bind", address))
    assert "others may enter" in _line(commands.run("node", address))


@pytest.mark.parametrize("address", ["ipc://@name", "ipc://*", "ipc://sock"])
def test_a_local_socket_without_a_folder_is_refused(commands: Commands, address: str) -> None:
    assert "names no socket by its whole path" in _line(commands.run("head", "--bind", address))


def test_a_connection_file_that_others_can_read_is_refused(commands: Commands) -> None:
    commands.head()
    commands.connection_file.chmod(0o640)
    assert "others can read the connection file" in _line(_node(commands, commands.connection_file))
    with pytest.raises(polyexec.ClusterError, match="others can read"):
        commands.context()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff", b"[1]", b'{"address": "tcp://127.0.0.1:1"}']
)
def test_what_is_no_connection_file_is_refused(commands: Commands, content: bytes) -> None:
    commands.connection_file.touch(0o600)
    commands.connection_file.write_bytes(content)
    line = _line(_node(commands, commands.connection_file))
    assert "is no connection file" in line


def test_a_connection_file_with_half_a_key_is_refused(commands: Commands) -> None:
    commands.head()
    file = _changed(commands.connection_file, secret_key="half")
    assert "is no connection file" in _line(_node(commands, file))


def test_a_connection_file_that_is_not_there_is_refused(commands: Commands) -> None:
    line = _line(_node(commands, commands.folder / "none.json"))
    assert "can't be read: No such file or directory" in line


@pytest.mark.parametrize("command", ["node", "status", "stop"])
def test_a_command_without_a_cluster_says_how_to_name_one(commands: Commands, command: str) -> None:
    assert "no cluster is named; pass --connection-file" in _line(commands.run(command))


def test_the_environment_may_name_the_cluster(commands: Commands) -> None:
    commands.head()
    file = str(commands.connection_file)
    done = commands.run("status", POLYEXEC_ZMQ_CONNECTION_FILE=file)
    assert "nodes: 0" in done.stdout


def test_a_second_head_with_the_same_state_is_refused(commands: Commands) -> None:
    commands.head()
    done = commands.run("head", "--bind", "tcp://127.0.0.1:*", "--state", str(commands.state))
    assert "another head uses" in _line(done)


def test_a_head_where_another_listens_is_refused(commands: Commands) -> None:
    commands.head()
    state = str(commands.folder / "other")
    done = commands.run("head", "--bind", commands.address, "--state", state)
    assert "nobody can listen at" in _line(done)


def test_a_state_folder_that_others_may_enter_is_refused(commands: Commands) -> None:
    commands.head()
    commands.state.chmod(0o755)
    assert "others may look into" in _line(
        commands.run("keys", "list", "--state", str(commands.state))
    )


def test_how_long_to_wait_for_a_first_connection_can_be_said(closed_port: int) -> None:
    context = polyexec.get_context(
        "zmq", address=f"tcp://127.0.0.1:{closed_port}", insecure=True, connect_timeout=0.5
    )
    with context, pytest.raises(polyexec.ClusterError, match=r"within 0\.5 seconds"):
        context.Executor(1)
    with pytest.raises(TypeError, match="connect_timeout must be a number"):
        polyexec.get_context("zmq", connect_timeout="long")


def test_other_versions_are_refused_with_the_difference_and_hurt_nobody_else(
    commands: Commands, peer: Callable[[Path], Peer]
) -> None:
    head = commands.head()
    commands.node()
    with commands.context() as context, context.Executor(1) as executor:
        assert executor.submit(abs, -1).result() == 1
        other = peer(commands.connection_file)
        other.hello(python="2.7", polyexec="0.0")
        refusal = other.receive(wire.REFUSED)
        assert refusal is not None
        why = json.loads(refusal[1])["why"].splitlines()
        assert "polyexec: 0.0 there, " in why[1]
        assert "python: 2.7 there, " in why[2]
        assert executor.submit(abs, -2).result() == 2
    head.wait_for("python: 2.7 there")
    until(lambda: commands.status()["refused"] == 1)


def test_another_version_of_a_package_is_refused(
    commands: Commands, peer: Callable[[Path], Peer]
) -> None:
    commands.head("--package", "click")
    other = peer(commands.connection_file)
    other.hello()
    asked = other.receive(wire.REFUSED)
    assert asked is not None
    assert json.loads(asked[1])["packages"] == ["click"]
    other.hello(packages={"click": "0.1"})
    refusal = other.receive(wire.REFUSED)
    assert refusal is not None
    assert "click: 0.1 there, " in json.loads(refusal[1])["why"]
