"""Several hosts on one machine: network namespaces, joined by a bridge in another one.

Each host has a network, and a name, of its own; all have the same files and see each other's
processes. Their cables can be pulled, narrowed, and made to lose packets.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

#: Starts a program on a host: in its network, and with its name.
_NAMED = 'hostname "$1" && shift && exec "$@"'


def why_not() -> str | None:
    """Return why there can be no hosts here, None if there can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    missing = [each for each in ("ip", "unshare", "hostname") if shutil.which(each) is None]
    if missing:
        return f"there is no {missing[0]}"
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    try:
        with Net(["a"]) as net:
            net.hosts["a"].run("true")
    except OSError as error:
        return f"no network namespaces here: {error}"
    return None


def _do(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")


class Host:
    """One host, called *name*, of *net*; *place* is its number there."""

    def __init__(self, net: Net, name: str, place: int) -> None:
        self.name = name
        self.address = f"10.77.0.{place}"
        self.namespace = f"{net.mark}-{name}"
        self._switch = net.switch
        self._port = f"port{place}"
        _do("ip", "netns", "add", self.namespace)
        ours, theirs = (self._port, "netns", self._switch), ("eth0", "netns", self.namespace)
        _do("ip", "link", "add", *ours, "type", "veth", "peer", *theirs)
        _do("ip", "-n", self._switch, "link", "set", self._port, "master", "bridge", "up")
        _do("ip", "-n", self.namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _do("ip", "-n", self.namespace, "link", "set", device, "up")

    def command(self, *command: str) -> list[str]:
        """Return what runs *command* here."""
        there = ["ip", "netns", "exec", self.namespace, "unshare", "--uts", "sh", "-c", _NAMED]
        return [*there, "sh", self.name, *command]

    def run(self, *command: str) -> None:
        """Run *command* here; raises OSError if that fails."""
        _do(*self.command(*command))

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start *command* here; the process is that of the command itself."""
        return subprocess.Popen(self.command(*command), text=True, **options)

    def cable(self, *, plugged: bool) -> None:
        """Pull the cable, or plug it in again."""
        state = "up" if plugged else "down"
        _do("ip", "-n", self._switch, "link", "set", self._port, state)

    def narrow(self, rate: str) -> None:
        """Let through no more than *rate*, in `tc`'s words, either way."""
        shape = ("root", "tbf", "rate", rate, "burst", "64kb", "latency", "400ms")
        _do("tc", "-n", self.namespace, "qdisc", "add", "dev", "eth0", *shape)
        _do("tc", "-n", self._switch, "qdisc", "add", "dev", self._port, *shape)

    def lose(self, percent: int) -> None:
        """Lose so many of the packets that come, at random; raises if nft can't."""
        nft = os.environ.get("NFT", "nft")
        self.run(nft, "add", "table", "inet", "loss")
        chain = "{ type filter hook input priority 0; }"
        self.run(nft, "add", "chain", "inet", "loss", "input", chain)
        dice = f"numgen random mod 100 < {percent} drop"
        self.run(nft, "add", "rule", "inet", "loss", "input", *dice.split())


class Net:
    """Hosts called *names*, each with a cable to one switch; a context manager."""

    def __init__(self, names: list[str]) -> None:
        self.mark = f"px{uuid.uuid4().hex[:8]}"
        self.switch = f"{self.mark}-switch"
        self.hosts: dict[str, Host] = {}
        try:
            _do("ip", "netns", "add", self.switch)
            _do("ip", "-n", self.switch, "link", "add", "bridge", "type", "bridge")
            _do("ip", "-n", self.switch, "link", "set", "bridge", "up")
            for place, name in enumerate(names, 1):
                self.hosts[name] = Host(self, name, place)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Net:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take it all down; processes that are left there keep their end of it."""
        for path in Path("/run/netns").glob(f"{self.mark}-*"):
            _do("ip", "netns", "del", path.name)
