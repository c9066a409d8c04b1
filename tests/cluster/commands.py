"""Clusters as their users run them: `python -m polyexec` in processes of their own, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

import polyexec
from polyexec_zmq import _wire as wire
from polyexec_zmq._keys import Credentials, read_connection_file
from polyexec_zmq._versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds after which something that should have happened counts as hanging.
PATIENCE = 60.0
TESTS = Path(__file__).parents[1]


class Command:
    """A command that goes on running; its streams are in files."""

    def __init__(self, folder: Path, number: int, arguments: tuple[str, ...]) -> None:
        self.out = folder / f"{number}.out"
        self.err = folder / f"{number}.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-m", "polyexec", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=TESTS,
                env=_environment(),
            )

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until it has written *text* so many times."""
        until(lambda: self.written().count(text) >= times, self.describe, self._goes_on)

    def _goes_on(self) -> bool:
        return self.process.poll() is None

    def written(self) -> str:
        """Return what it has written so far."""
        return self.out.read_text() + self.err.read_text()

    def describe(self) -> str:
        """Return what helps to understand a failure."""
        return f"exit code {self.process.poll()}; {self.written()}"

    def signal(self, signum: int) -> None:
        """Send it a signal."""
        self.process.send_signal(signum)

    def exit_code(self) -> int:
        """Wait for its end, and return its exit code."""
        return self.process.wait(PATIENCE)


class Commands:
    """Starts commands for a cluster whose files are in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.connection_file = folder / "owner.json"
        self._started: list[Command] = []

    def start(self, *arguments: str) -> Command:
        """Start a command that goes on running."""
        command = Command(self.folder, len(self._started), arguments)
        self._started.append(command)
        return command

    def head(self, *arguments: str, bind: str = "tcp://127.0.0.1:*") -> Command:
        """Start a head; return once it listens."""
        files = "--state", str(self.state), "--connection-file", str(self.connection_file)
        head = self.start("head", "--bind", bind, *files, *arguments)
        head.wait_for("listening at")
        return head

    @property
    def address(self) -> str:
        """Where the head listens."""
        return read_connection_file(self.connection_file).address

    def node(self, *arguments: str, file: Path | None = None) -> Command:
        """Start a node; return once it has joined."""
        connection = "--connection-file", str(file or self.connection_file)
        node = self.start("node", *connection, "--workers", "2", *arguments)
        node.wait_for("joined")
        return node

    def context(self, file: Path | None = None, **options: Any) -> polyexec.Context:
        """Return a context on the cluster."""
        return polyexec.get_context(
            "zmq", connection_file=str(file or self.connection_file), **options
        )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "polyexec", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            cwd=TESTS,
            env={**_environment(), **environment},
        )

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command that asks the head something."""
        return self.run(*arguments, "--connection-file", str(self.connection_file))

    def status(self) -> dict[str, Any]:
        """Return what the head says of itself."""
        done = self.ask("status", "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def add_key(self, name: str) -> Path:
        """Let in a member, and return its connection file."""
        file = self.folder / f"{name}.json"
        done = self.run("keys", "add", name, "--out", str(file), "--state", str(self.state))
        assert done.returncode == 0, done.stderr
        return file

    def end(self) -> None:
        """End what has not ended, in its order of dependence."""
        for command in reversed(self._started):
            if command.process.poll() is None:
                command.signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    command.process.wait(PATIENCE / 4)
                command.process.kill()
                command.process.wait()


class Peer:
    """A member that is not one of ours: it says what the test likes."""

    def __init__(self, address: str, credentials: Credentials | None) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self.sock: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self.sock.linger = 0
        self.sock.reconnect_ivl = -1
        self.sock.sndtimeo = int(PATIENCE * 1000)
        if credentials is not None:
            credentials.be_client(self.sock)
        self.sock.connect(address)

    def send(self, kind: int, *frames: Any, peer: int = 0, number: int = 0) -> None:
        """Send a letter."""
        self.sock.send_multipart(wire.letter(kind, peer, number, *frames))

    def hello(self, **changes: Any) -> None:
        """Say hello."""
        hello = {"role": "client", "member": 1234567, "pid": os.getpid(), **versions()}
        self.send(wire.HELLO, wire.to_json({**hello, **changes}))

    def receive(self, kind: int, timeout: float = PATIENCE) -> list[bytes] | None:
        """Wait for a letter of a kind, leave out others; None if none comes in time."""
        ends = time.monotonic() + timeout
        while (left := ends - time.monotonic()) > 0:
            if self.sock.poll(max(int(left * 1000), 1)):
                frames = self.sock.recv_multipart()
                if wire.HEAD.unpack(frames[0])[0] == kind:
                    return frames
        return None

    def close(self) -> None:
        """Leave without a word."""
        self._context.destroy(linger=0)


def until(
    happened: Callable[[], Any],
    describe: Callable[[], str] = str,
    may_yet: Callable[[], bool] = lambda: True,
) -> None:
    """Wait until *happened* returns something true; nothing tells of it."""
    ends = time.monotonic() + PATIENCE
    while True:
        possible = may_yet() and time.monotonic() < ends
        if happened():
            return
        assert possible, describe()
        time.sleep(0.02)


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if "POLYEXEC_ZMQ" not in key}
