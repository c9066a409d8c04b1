"""A cluster on several hosts: a head, nodes and programs, each of which may come to harm."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.hosts import Host, Net

PORT = 5555
#: How many seconds a member may be silent: few, so that tests are quick, but more than a machine
#: takes that is busy with other things.
LEASE = 6.0
#: How long anything may take that is to happen.
PATIENCE = 90.0

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent


class Member:
    """A process on a host, that says a line for each thing which is waited for."""

    def __init__(self, host: Host, log: Path, *command: str) -> None:
        self.host = host
        self.log = log
        env = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONFAULTHANDLER": "1"}
        with log.open("a") as file:
            self.process: subprocess.Popen[str] = host.start(
                sys.executable,
                *command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=env,
            )
        self._rest = b""

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self.process.pid

    def line(self, patience: float = PATIENCE) -> str:
        """Return the next line that it says; fails if there is none."""
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        deadline = time.monotonic() + patience
        while b"\n" not in self._rest:
            left = max(deadline - time.monotonic(), 0)
            if not select.select([fd], [], [], left)[0]:
                raise AssertionError(f"{self.log.name} says nothing; {self._tail()}")
            found = os.read(fd, 1 << 16)
            if not found:
                raise AssertionError(f"{self.log.name} has ended; {self._tail()}")
            self._rest += found
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()

    def _tail(self) -> str:
        return self.log.read_text()[-3000:]

    def tell(self, line: str) -> None:
        """Say *line* to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def order(self, line: str) -> None:
        """Have it do something, and return once it has."""
        self.tell(line)
        assert self.line() == "ok"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it, and return once it has ended."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Kill it, if it is there still, and let go of its streams."""
        self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what it had not read
                    stream.close()


class Company:
    """The members on *net*; their logs, the roster and what tasks note are in *folder*."""

    def __init__(self, net: Net, folder: Path, lease: float = LEASE) -> None:
        self.net = net
        self.folder = folder
        #: Whether letters may have come to the head that nobody has sent.
        self.garbled = False
        self.lease = lease
        self.members: list[Member] = []
        self.address = f"tcp://{net.hosts['head'].address}:{PORT}"

    def _start(self, host: str, log: str, *command: str) -> Member:
        member = Member(self.net.hosts[host], self.folder / f"{log}.log", *command)
        self.members.append(member)
        return member

    def head(self) -> Member:
        """Start the head; one that took its place knows the nodes of the last one."""
        options = {"port": PORT, "lease": self.lease, "state": str(self.folder)}
        member = self._start("head", "head", str(HERE / "members.py"), "head", json.dumps(options))
        assert member.line() == "ready"
        return member

    def node(
        self,
        host: str,
        *,
        name: str | None = None,
        cpus: int = 2,
        address: str | None = None,
        protocol: int | None = None,
    ) -> Member:
        """Start a node."""
        options = {
            "address": address or self.address,
            "name": name or host,
            "cpus": cpus,
            "protocol": protocol,
        }
        log = f"node-{name or host}"
        member = self._start(host, log, str(HERE / "members.py"), "node", json.dumps(options))
        assert member.line() == "ready"
        return member

    def client(self, program: str, host: str = "client", **arguments: Any) -> Member:
        """Start the function *program* of `programs.py`; it gets a context, and *arguments*."""
        options = {"address": self.address, "insecure": True}
        options.update(arguments.pop("options", {}))
        told = json.dumps({"folder": str(self.folder), **arguments})
        command = (str(HERE / "programs.py"), program, json.dumps(options), told)
        return self._start(host, f"client-{program}", *command)

    def proxy(self, host: str, port: int = PORT) -> tuple[Member, str]:
        """Start a proxy for the head on *host*, and return it with its address."""
        target = self.net.hosts["head"].address
        command = (str(HERE / "proxy.py"), str(port), target, str(PORT))
        member = self._start(host, "proxy", *command)
        assert member.line() == "ok"
        return member, f"tcp://{self.net.hosts[host].address}:{port}"

    def status(self) -> dict[str, Any]:
        """Return what the head tells of the cluster."""
        asker = self.client("status")
        found: dict[str, Any] = json.loads(asker.line())
        asker.process.wait(PATIENCE)
        return found

    def await_nodes(self, *names: str) -> None:
        """Return once exactly these nodes are there, and not draining."""
        watcher = self.client("await_nodes", names=sorted(names), patience=PATIENCE)
        assert watcher.line() == "there"
        watcher.process.wait(PATIENCE)

    def notes(self, name: str = "notes") -> list[str]:
        """Return the lines that tasks have noted."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def await_notes(self, enough: int, name: str = "notes") -> list[str]:
        """Return the lines that tasks have noted, once there are *enough*."""
        deadline = time.monotonic() + PATIENCE
        while len(found := self.notes(name)) < enough:
            assert time.monotonic() < deadline, f"{len(found)} notes, not {enough}"
            time.sleep(0.05)  # no event tells of a file that grows
        return found

    def close(self) -> None:
        """End all, and check that the head has understood every letter."""
        for member in self.members:
            with contextlib.suppress(ProcessLookupError):
                member.signal(signal.SIGCONT)
            member.close()
        log = self.folder / "head.log"
        said = log.read_text() if log.exists() else ""
        assert self.garbled or "makes no sense" not in said, said
        assert "Traceback" not in said, said


def flowed_well(company: Company, client: Member, tasks: int) -> None:
    """Check that all tasks of `flow` ended well, ran once, and were delivered once."""
    assert json.loads(client.line()) == {"wrong": [], "ends": [[1, tasks]]}
    assert client.process.wait(PATIENCE) == 0
    everything = Counter(str(number) for number in range(tasks))
    assert Counter(company.notes()) == everything
    assert Counter(company.notes("delivered")) == everything
