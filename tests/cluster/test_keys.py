"""Keys: who may join, and may no more."""

from __future__ import annotations

import os
import socket
import stat
import time
from typing import TYPE_CHECKING

import pytest
import zmq
from zmq.utils import z85

from polyexec import ClusterError
from polyexec_zmq import _wire as wire
from polyexec_zmq._doorkeeper import Doorkeeper
from polyexec_zmq._keys import check_folder, read_connection_file, write_private
from polyexec_zmq._state import StateFolder, new_key_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cluster.commands import Commands, Peer


def _keys(commands: Commands, *arguments: str) -> list[str]:
    done = commands.run("keys", *arguments, "--state", str(commands.state))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_keys_are_added_listed_and_revoked_while_the_head_runs(commands: Commands) -> None:
    head = commands.head()
    file = commands.add_key("alice")
    node = commands.node(file=file)
    names = [line.split("\t")[0] for line in _keys(commands, "list")]
    assert names == ["alice", "owner"]
    assert _keys(commands, "revoke", "alice") == ["revoked alice"]
    assert node.exit_code() == 1
    assert "does not accept this key" in node.err.read_text().splitlines()[-1]
    assert [line.split("\t")[0] for line in _keys(commands, "list")] == ["owner"]
    head.wait_for("its key was revoked")
    commands.node()  # which has the owner's


def test_a_client_whose_key_is_revoked_hears_of_it(commands: Commands) -> None:
    commands.head()
    commands.node()
    with commands.context(commands.add_key("alice")) as context, context.Executor(1) as executor:
        assert executor.submit(abs, -1).result() == 1
        _keys(commands, "revoke", "alice")
        future = executor.submit(time.sleep, 600)
        assert "does not accept this key" in str(future.exception(60))


def test_an_open_connection_of_a_revoked_key_says_hello_in_vain(
    commands: Commands, peer: Callable[[Path], Peer]
) -> None:
    head = commands.head()
    stays = peer(commands.add_key("alice"))
    stays.hello()
    assert stays.receive(wire.WELCOME)
    _keys(commands, "revoke", "alice")
    assert stays.receive(wire.BYE)
    stays.send(wire.PING)
    assert stays.receive(wire.UNKNOWN)
    stays.hello()
    assert stays.receive(wire.REFUSED)
    head.wait_for("its key is not accepted")
    stays.hello(member=7)
    assert stays.receive(wire.REFUSED)


def test_a_name_that_is_given_anew_does_not_let_the_old_key_in(
    commands: Commands, peer: Callable[[Path], Peer]
) -> None:
    commands.head()
    file = commands.add_key("alice")
    stays = peer(file)
    stays.hello()
    assert stays.receive(wire.WELCOME)
    _keys(commands, "revoke", "alice")
    file.unlink()
    new = peer(commands.add_key("alice"))
    assert stays.receive(wire.BYE)
    stays.hello()
    assert stays.receive(wire.REFUSED)
    new.hello(member=3)
    assert new.receive(wire.WELCOME)


def test_a_member_is_nobody_elses_to_take_over(
    commands: Commands, peer: Callable[[Path], Peer]
) -> None:
    commands.head()
    alice, bob = peer(commands.add_key("alice")), peer(commands.add_key("bob"))
    alice.hello()
    assert alice.receive(wire.WELCOME)
    bob.hello()
    assert bob.receive(wire.REFUSED)
    alice.send(wire.ASK, wire.to_json({"what": "cpus"}))
    assert alice.receive(wire.TELL)


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a b", "x" * 65])
def test_a_name_that_could_name_another_file_is_refused(commands: Commands, name: str) -> None:
    commands.head()
    done = commands.run("keys", "add", name, "--state", str(commands.state))
    assert done.returncode == 1
    assert "can't name a key" in done.stderr


def test_no_key_is_made_twice_and_no_file_overwritten(commands: Commands) -> None:
    commands.head()
    file = commands.add_key("alice")
    again = "keys", "add", "alice", "--state", str(commands.state), "--out"
    assert "there is a file" in commands.run(*again, str(file)).stderr
    assert "there is a key 'alice'" in commands.run(*again, str(file) + "2").stderr


def test_revoking_a_key_that_is_not_there_says_which_are(commands: Commands) -> None:
    commands.head()
    done = commands.run("keys", "revoke", "bob", "--state", str(commands.state))
    assert (done.returncode, done.stderr) == (
        1,
        "polyexec: there is no key 'bob'; there are: owner\n",
    )


def test_keys_without_a_head_say_where_they_were_looked_for(commands: Commands) -> None:
    done = commands.run("keys", "list", XDG_STATE_HOME=str(commands.folder))
    assert done.returncode == 1
    assert f"no head has its state in '{commands.folder}/polyexec/head'" in done.stderr


# -- the folder ------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    state = StateFolder(tmp_path / "state", create=True)
    state.note_address("tcp://127.0.0.1:1")
    return state


def test_nobody_else_can_read_what_a_head_keeps(state: StateFolder) -> None:
    state.owner()
    state.add("alice")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.path.rglob("*")}
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
    assert modes.pop("members") == 0o700
    assert set(modes.values()) == {0o600}


def test_the_owner_keeps_the_same_key_until_it_is_revoked(state: StateFolder) -> None:
    first = state.owner()
    state.note_address("tcp://127.0.0.1:2")
    assert state.owner() == first._replace(address="tcp://127.0.0.1:2")
    assert read_connection_file(state.connection_file) == state.owner()
    state.revoke("owner")
    assert state.owner().credentials.public_key != first.credentials.public_key


def test_a_private_file_does_not_take_over_one_that_others_can_read(tmp_path: Path) -> None:
    trap = tmp_path / f".keys.{os.getpid()}"
    trap.touch(0o644)
    write_private(tmp_path / "keys", "secret")
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o600


def test_a_connection_file_of_somebody_else_is_refused(
    state: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.owner()
    monkeypatch.setattr(os, "getuid", lambda: state.path.stat().st_uid + 1)
    with pytest.raises(ClusterError, match="is not yours"):
        read_connection_file(state.connection_file)
    with pytest.raises(ClusterError, match="or it is not yours"):
        StateFolder(state.path)
    with pytest.raises(ClusterError, match="or it is not yours"):
        check_folder(f"ipc://{state.path}/sock")


# -- the doorkeeper --------------------------------------------------------------------------------


class Door:
    """A doorkeeper, and a head's socket that it guards."""

    def __init__(self, state: StateFolder) -> None:
        self.keeper = Doorkeeper(state.members, state.server_keys())
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.sock = self.context.socket(zmq.ROUTER)
        self.keeper.guard(self.sock, self.context)
        port = self.sock.bind_to_random_port("tcp://127.0.0.1")
        self._poller = zmq.Poller()
        self.keeper.register(self._poller)
        self.address = f"tcp://127.0.0.1:{port}"

    def ask(self, *frames: bytes) -> list[bytes]:
        """Ask as libzmq does, and return the answer."""
        with self.context.socket(zmq.REQ) as sock:
            sock.linger = 0
            sock.rcvtimeo = 10_000
            sock.connect("inproc://zeromq.zap.01")
            sock.send_multipart(frames)
            self.see_to()
            return sock.recv_multipart()

    def see_to(self) -> None:
        """Wait for something to come, and have it seen to."""
        events = dict(self._poller.poll(10_000))
        assert events
        self.keeper.see_to(events)


@pytest.fixture
def door(state: StateFolder) -> Iterator[Door]:
    door = Door(state)
    yield door
    door.keeper.close()
    door.context.destroy(linger=0)


def _question(public: str, **changes: bytes) -> list[bytes]:
    frames = {
        "version": b"1.0",
        "number": b"5",
        "domain": b"polyexec",
        "address": b"127.0.0.1",
        "identity": b"",
        "mechanism": b"CURVE",
        "key": z85.decode(public),
    }
    return list({**frames, **changes}.values())


def test_a_key_on_the_list_is_let_in_and_named(state: StateFolder, door: Door) -> None:
    public = state.add("alice").credentials.public_key
    version, number, code, _, user, _ = door.ask(*_question(public))
    assert (version, number, code, user) == (b"1.0", b"5", b"200", public.encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"version": b"2.0"},
        {"domain": b"other"},
        {"mechanism": b"NULL"},
        {"mechanism": b"PLAIN"},
        {"key": b""},
        {"key": b"short"},
        {"key": b"x" * 33},
        {"key": bytes(32)},
    ],
)
def test_any_other_question_is_refused(
    state: StateFolder, door: Door, changes: dict[str, bytes]
) -> None:
    public = state.add("alice").credentials.public_key
    assert door.ask(*_question(public, **changes))[2] == b"400"


@pytest.mark.parametrize("count", [1, 2, 3, 6, 8, 20])
def test_a_question_of_another_length_is_refused(
    state: StateFolder, door: Door, count: int
) -> None:
    public = state.add("alice").credentials.public_key
    frames = (_question(public) * 3)[:count]
    assert door.ask(*frames)[2] == b"400"


def test_a_revoked_key_is_told_of_once(state: StateFolder, door: Door) -> None:
    public = state.add("alice").credentials.public_key
    assert door.ask(*_question(public))[2] == b"200"
    state.revoke("alice")
    assert door.ask(*_question(public))[2] == b"400"
    assert set(door.keeper.revoked()) == {"alice"}
    assert set(door.keeper.revoked()) == set()


def test_who_brings_no_proof_is_counted_and_logged_seldom(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    address = ("127.0.0.1", int(door.address.rpartition(":")[2]))
    for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64) * 100:
        with socket.create_connection(address) as sock:
            sock.sendall(data)
    while door.keeper.turned_away() < 300:
        door.see_to()
    lines = [each for each in caplog.messages if "no proof of a key" in each]
    assert 1 <= len(lines) < 100
    assert door.keeper.turned_away() == 300


def test_what_is_no_key_lets_in_nobody(state: StateFolder, door: Door) -> None:
    (state.members / "alice").write_bytes(b"\xff\xfe")
    (state.members / "bob").mkdir()
    (state.members / ".hidden").write_text(new_key_pair().public)
    assert state.public_keys() == {}
    assert door.ask(*_question(new_key_pair().public))[2] == b"400"


def test_a_list_that_can_t_be_read_lets_in_nobody(state: StateFolder, door: Door) -> None:
    public = state.add("alice").credentials.public_key
    assert door.ask(*_question(public))[2] == b"200"
    state.members.rename(state.path / "gone")
    assert door.ask(*_question(public))[2] == b"400"
    assert set(door.keeper.revoked()) == {"alice"}


def test_nobody_is_let_in_while_nobody_answers(state: StateFolder, door: Door) -> None:
    credentials = state.add("alice").credentials
    door.keeper.close()
    with zmq.Context() as context, context.socket(zmq.DEALER) as sock:
        sock.linger = 0
        sock.handshake_ivl = 2000  # for the question may go to one that is being closed
        credentials.be_client(sock)
        monitor = sock.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            | zmq.EVENT_DISCONNECTED
        )
        sock.connect(door.address)
        sock.send(b"let me in")
        assert monitor.poll(10_000)
        event = int.from_bytes(monitor.recv_multipart()[0][:2], "little")
        assert event != zmq.EVENT_HANDSHAKE_SUCCEEDED
        sock.disable_monitor()
        monitor.close()
    assert not door.sock.poll(100)
