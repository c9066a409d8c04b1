"""Attacks on a head: who has no key gets nowhere; who has one may hurt it no more than that.

POLYEXEC_ATTACK_FRAMES says how many malformed frames come from a member.
"""

from __future__ import annotations

import os
import pickle
import random
import socket
import struct
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zmq

from cluster.commands import PATIENCE, Peer, until
from cluster.errands import Canary
from polyexec_zmq import _wire as wire
from polyexec_zmq._keys import Credentials, read_connection_file
from polyexec_zmq._state import new_key_pair
from ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.commands import Command, Commands
    from polyexec import Executor

FRAMES = int(os.environ.get("POLYEXEC_ATTACK_FRAMES", "20000"))
#: How many bytes a head may grow by in an attack.
GROWTH = 32 << 20
#: How many connections a scanner opens.
SCANS = 160
#: What a head says of who can't show that he has a key.
UNPROVEN = "refused a connection: it brought no proof of a key"

#: What an executor may want.
SPEC: dict[str, Any] = {
    "workers": 1,
    "env": {},
    "needs": {},
    "max_tasks": None,
    "max_memory": None,
    "idle_timeout": None,
}
#: What a node may say that it has.
STATION: dict[str, Any] = {
    "client": 1,
    "executor": 1,
    "width": 1,
    "units": {},
    "jobs": [],
    "answered": [],
    "closing": False,
}
KINDS = sorted(
    {value for name, value in vars(wire).items() if name.isupper() and isinstance(value, int)}
    - {wire.BULK_VALUE}
)
#: Letters that are well-formed in part, so that more than the first look is put to the test.
PARTS: list[bytes] = [
    b"",
    b"\0",
    b"null",
    b"[]",
    b"{}",
    b'{"what": 1}',
    b'{"what": "workers"}',
    b'{"what": "drain", "node": []}',
    b'{"key": 1, "number": 1}',
    b'{"key": "%s", "number": 1}' % (b"k" * 40),
    b'{"workers": 2}',
    b'{"workers": -1}',
    b'{"workers": "many"}',
    b'{"workers": NaN}',
    b"[" * 100_000,
    b"\xff" * 8,
    b"\0" * wire.JOB.size,
    b"\xff" * wire.JOB.size,
    b"\0" * wire.ANSWER.size,
    wire.COUNT.pack(1),
    wire.NUMBER.pack(1),
    wire.PART.pack(1, 1 << 63),
]


@pytest.fixture
def bulk_port() -> int:
    """Return which port of the head is for large data."""
    return free_port()


@pytest.fixture
def head(commands: Commands, bulk_port: int) -> Command:
    """Return a head that has a node."""
    head = commands.head("--bulk", f"tcp://127.0.0.1:{bulk_port}")
    commands.node()
    return head


@pytest.fixture
def executor(commands: Commands, head: Command) -> Iterator[Executor]:
    """Return an innocent's executor on the cluster, whose tasks ran before, and must run after."""
    with commands.context() as context, context.Executor(2) as executor:
        assert executor.submit(abs, -1).result(PATIENCE) == 1
        yield executor
        assert list(executor.map(abs, range(-20, 0))) == list(range(20, 0, -1))
    assert head.process.poll() is None
    assert "Traceback" not in head.written()


def _size(head: Command) -> int:
    """Return how much memory a head has."""
    pages = Path(f"/proc/{head.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _address(commands: Commands) -> tuple[str, int]:
    host, _, port = commands.address.removeprefix("tcp://").rpartition(":")
    return host, int(port)


def _unheard(peer: Peer) -> bool:
    """Say hello, and return whether nothing comes back."""
    try:
        peer.sock.sndtimeo = 100
        peer.hello()
    except zmq.Again:  # the connection has ended
        return True
    return not peer.sock.poll(1000)


@pytest.mark.usefixtures("executor")
def test_without_a_key_nobody_is_heard(commands: Commands, head: Command) -> None:
    stranger = Peer(commands.address, None)
    assert _unheard(stranger)
    stranger.close()
    head.wait_for(UNPROVEN)


@pytest.mark.usefixtures("executor")
def test_with_a_key_that_is_not_on_the_list_nobody_is_heard(
    commands: Commands, head: Command
) -> None:
    server = read_connection_file(commands.connection_file).credentials.server_key
    strangers = [Peer(commands.address, Credentials(server, *new_key_pair())) for _ in range(20)]
    for stranger in strangers[1:]:
        with suppress(zmq.Again):  # it has been refused already
            stranger.sock.send(b"", zmq.NOBLOCK)
    assert _unheard(strangers[0])
    for stranger in strangers:
        assert not stranger.sock.poll(0)
        stranger.close()
    head.wait_for("refused a connection from 127.0.0.1")
    until(lambda: commands.status()["turned_away"] >= len(strangers))
    assert len(commands.status()["clients"]) == 1


@pytest.mark.usefixtures("executor")
def test_with_a_listed_public_key_but_not_its_secret_one_nobody_is_heard(
    commands: Commands, head: Command
) -> None:
    ours = read_connection_file(commands.connection_file).credentials
    stranger = Peer(commands.address, ours._replace(secret_key=new_key_pair().secret))
    assert _unheard(stranger)
    stranger.close()
    head.wait_for(UNPROVEN)


@pytest.mark.usefixtures("executor")
def test_a_scanner_of_ports_is_ignored(commands: Commands, head: Command) -> None:
    before = _size(head)
    _scan(_address(commands))
    head.wait_for(UNPROVEN)
    until(lambda: commands.status()["turned_away"] == SCANS)
    assert _size(head) - before < GROWTH


@pytest.mark.usefixtures("executor")
def test_a_scanner_of_the_port_for_large_data_is_ignored(
    commands: Commands, head: Command, bulk_port: int
) -> None:
    before = _size(head)
    with commands.context() as context, context.Executor(1) as executor:
        assert executor.submit(len, bytes(20 << 20)).result(PATIENCE) == 20 << 20
        _scan(("127.0.0.1", bulk_port))
        assert executor.submit(len, bytes(21 << 20)).result(PATIENCE) == 21 << 20
    head.wait_for("the relay refused a connection")
    until(lambda: commands.status()["turned_away"] == SCANS)
    assert _size(head) - before < GROWTH


def _scan(address: tuple[str, int]) -> None:
    """Connect to *address* and say what scanners of ports do: `SCANS` times."""
    noise = random.Random(5)
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE" + bytes(15) + b"\0" + bytes(31)
    says = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        noise.randbytes(100_000),
        greeting,
        greeting + b"\x06" + struct.pack(">Q", 1 << 62),
        greeting + b"\x04\xc8\x05HELLO" + noise.randbytes(194),
        greeting.replace(b"CURVE", b"NULL\0") + b"\x04\x19\x05READY",
    ]
    for data in says * (SCANS // len(says)):
        with socket.create_connection(address) as sock, suppress(ConnectionError):
            sock.sendall(data)  # it may be cut off before all is said


class Tape:
    """Takes a connection for *target*, passes it on, and keeps what is said to that."""

    def __init__(self, listener: socket.socket, target: tuple[str, int]) -> None:
        self.said = b""
        self._listener = listener
        self._target = target
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        near, _ = self._listener.accept()
        with near, socket.create_connection(self._target) as far:
            threading.Thread(target=self._answer, args=(far, near), daemon=True).start()
            while data := near.recv(1 << 16):
                self.said += data
                far.sendall(data)

    @staticmethod
    def _answer(far: socket.socket, near: socket.socket) -> None:
        with suppress(OSError):  # either has left
            while data := far.recv(1 << 16):
                near.sendall(data)


@pytest.mark.usefixtures("executor")
def test_what_a_member_has_said_lets_in_nobody_who_says_it_again(
    commands: Commands, head: Command
) -> None:
    ran = commands.folder / "ran"
    ran.mkdir()
    file = commands.folder / "taped.json"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tape = Tape(listener, _address(commands))
        taped = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        file.touch(mode=0o600)
        file.write_text(commands.connection_file.read_text().replace(commands.address, taped))
        with commands.context(file) as context, context.Executor(1) as executor:
            executor.submit(tempfile.mkdtemp, dir=str(ran)).result(PATIENCE)
    assert len(tape.said) > 1000
    before = _size(head)
    for _ in range(20):
        address = _address(commands)
        # It may be cut off before all is said.
        with socket.create_connection(address, PATIENCE) as sock, suppress(ConnectionError):
            sock.sendall(tape.said)
            while sock.recv(1 << 16):
                pass
    head.wait_for(UNPROVEN)
    until(lambda: commands.status()["turned_away"] == 20)
    status = commands.status()
    assert len(status["clients"]) == 1
    assert not status["malformed"]
    assert len(list(ran.iterdir())) == 1
    assert _size(head) - before < GROWTH


def _flood(peer: Peer) -> None:
    """Send malformed letters, and read what comes back."""
    for letter in _noise(FRAMES):
        peer.sock.send_multipart(letter)
        while peer.sock.poll(0):
            peer.sock.recv_multipart()


def _noise(count: int) -> Iterator[list[bytes]]:
    noise = random.Random(7)
    for number in range(count):
        frames = [noise.randbytes(noise.randrange(30)) for _ in range(noise.randrange(1, 5))]
        if number % 2:
            head = wire.HEAD.pack(
                noise.choice(KINDS), noise.choice([0, 1, 99]), noise.choice([0, 1])
            )
            frames[0] = head
        if frames[0][:1] != bytes([wire.BYE]):
            yield frames


def test_malformed_frames_of_who_has_not_said_hello_are_dropped(
    commands: Commands, head: Command, executor: Executor, peer: Callable[[Path], Peer]
) -> None:
    mallory = peer(commands.add_key("mallory"))
    before = _size(head)
    _flood(mallory)
    mallory.hello(member=99)
    assert mallory.receive(wire.WELCOME)
    assert _size(head) - before < GROWTH
    assert executor.submit(abs, -2).result(PATIENCE) == 2


def test_malformed_frames_of_a_member_are_dropped_and_counted(
    commands: Commands, head: Command, executor: Executor, peer: Callable[[Path], Peer]
) -> None:
    mallory = peer(commands.add_key("mallory"))
    mallory.hello(member=77)
    assert mallory.receive(wire.WELCOME)
    before = _size(head)
    _flood(mallory)
    mallory.send(wire.ASK, wire.to_json({"what": "cpus"}), number=12345)
    until(lambda: _told(mallory, 12345))
    assert commands.status()["malformed"] > FRAMES / 10
    assert _size(head) - before < GROWTH
    head.wait_for("a letter of client")
    assert head.written().count("makes no sense") < 200
    assert executor.submit(abs, -2).result(PATIENCE) == 2


def _told(peer: Peer, number: int) -> bool:
    frames = peer.receive(wire.TELL, 1)
    return frames is not None and wire.HEAD.unpack(frames[0])[2] == number


@pytest.mark.usefixtures("executor")
@pytest.mark.parametrize("role", ["client", "node"])
def test_nothing_that_a_member_sends_is_unpickled_in_the_head(
    commands: Commands, peer: Callable[[Path], Peer], role: str
) -> None:
    canary = commands.folder / "unpickled"
    bomb = pickle.dumps(Canary(canary))
    mallory = peer(commands.add_key("mallory"))
    mallory.hello(member=77, role=role, stations=[])
    assert mallory.receive(wire.WELCOME)
    for kind in KINDS:
        if kind == wire.BYE:
            continue
        for frames in ([bomb], [bomb, bomb], [b"{}", bomb], [b'{"workers": 1}', bomb, bomb]):
            mallory.send(kind, *frames, number=1)
    mallory.send(wire.OPEN, wire.to_json(SPEC), bomb, number=2)
    mallory.send(wire.FUNCTION, wire.COUNT.pack(1), bomb, number=2)
    mallory.send(wire.ASK, wire.to_json({"what": "cpus"}), number=12345)
    until(lambda: _told(mallory, 12345))
    assert not canary.exists()


@pytest.mark.usefixtures("executor")
@pytest.mark.parametrize("role", ["client", "node"])
def test_letters_that_are_right_in_part_hurt_nobody_else(
    commands: Commands, peer: Callable[[Path], Peer], role: str
) -> None:
    mallory = peer(commands.add_key("mallory"))
    mallory.hello(member=77, role=role, stations=[])
    assert mallory.receive(wire.WELCOME)
    for kind in KINDS:
        for first in PARTS:
            for second in PARTS[:4] + PARTS[-4:]:
                if kind not in (wire.BYE, wire.HELLO):
                    mallory.send(kind, first, second, second, number=1, peer=1)
    mallory.send(wire.ASK, wire.to_json({"what": "cpus"}), number=12345)
    until(lambda: _told(mallory, 12345))


@pytest.mark.usefixtures("executor")
@pytest.mark.parametrize(
    "changes",
    [
        {"member": 0},
        {"member": 1 << 64},
        {"member": "me"},
        {"role": "head"},
        {"role": []},
        {"cpus": "many"},
        {"cpus": -1},
        {"cpus": 1 << 40},
        {"stations": 1},
        {"stations": [{}]},
        {"stations": [{**STATION, "width": "x"}]},
        {"stations": [{**STATION, "jobs": [-1]}]},
        {"stations": [{**STATION, "units": []}]},
        {"stations": [{**STATION, "units": {"gpu": ["0"]}}]},
        {"name": "a\nb"},
        {"name": 5},
        {"packages": []},
        {"resources": {"gpu": "one"}},
        {"resources": {"gpu": 0.5}},
        {"resources": {"gpu": -1}},
    ],
    ids=str,
)
def test_a_node_that_says_nonsense_of_itself_is_no_member(
    commands: Commands, peer: Callable[[Path], Peer], changes: dict[str, Any]
) -> None:
    mallory = peer(commands.add_key("mallory"))
    mallory.hello(**{"member": 77, "role": "node", "stations": [], **changes})
    assert mallory.receive(wire.WELCOME, 1) is None
    assert len(commands.status()["nodes"]) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 0},
        {"workers": "many"},
        {"env": {"A": 1}},
        {"needs": []},
        {"needs": {"gpu": "one"}},
        {"needs": {"gpu": 0}},
        {"needs": {"gpu": 0.5}},
        {"max_tasks": -1},
        {"idle_timeout": "soon"},
    ],
    ids=str,
)
def test_an_executor_that_wants_nonsense_keeps_nobody_from_places(
    commands: Commands,
    peer: Callable[[Path], Peer],
    executor: Executor,
    changes: dict[str, Any],
) -> None:
    mallory = peer(commands.add_key("mallory"))
    mallory.hello(member=77, role="client")
    assert mallory.receive(wire.WELCOME)
    mallory.send(wire.OPEN, wire.to_json({**SPEC, **changes}), b"", number=1)
    job = wire.JOB.pack(1, -1, 0, 0, 0, 0.0)
    mallory.send(wire.JOBS, job, b"", number=1)
    mallory.send(wire.ASK, wire.to_json({"what": "cpus"}), number=12345)
    until(lambda: _told(mallory, 12345))
    commands.node("--name", "another")  # all places are given anew
    assert executor.submit(abs, -2).result(PATIENCE) == 2
    assert [each["client"] for each in commands.status()["executors"]] != [77]
