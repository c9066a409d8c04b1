"""Who is connected to a head."""

from __future__ import annotations

from collections import deque
from typing import Any


class HeadMember:
    """One session of a node, or of a program, as a head knows it."""

    def __init__(self, rid: bytes, hello: dict[str, Any], now: float) -> None:
        #: Where its letters go, and who it is, in each of its sessions.
        self.rid: bytes = rid
        self.id: int = hello["member"]
        self.role: str = hello["role"]
        self.key: str = hello.get("key", "")
        self.pid: int = hello.get("pid", 0)
        self.name: str = hello.get("name") or f"pid {self.pid}"
        self.host: str = hello.get("host", "")
        #: The executors that a program had as it joined, and has not opened since.
        self.executors: set[int] = set(hello.get("executors", ()))
        #: A node's: how many workers it is good for, and what else it has.
        self.cpus: int = hello.get("cpus", 0)
        #: How often it had asked to join by then.
        self.attempt: int = hello.get("attempt", 0)
        #: Whether it was given up before it joined, and whether it has said anything since, and
        #: so been told.
        self.stale: bool = hello["stale"]
        self.has_spoken: bool = False
        #: Whether its workers have ended, and it came back as another.
        self.succeeded: bool = False
        self.resources: dict[str, int] = hello.get("resources", {})
        self.memory: int = hello.get("memory", 0)
        self.draining: bool = hello.get("draining", False)
        self.joined: float = now
        self.heard: float = now
        self.spoke: float = now
        #: Letters that there was no room for.
        self.out: deque[list[Any]] = deque()
        #: Whether it has been told, or has said, goodbye.
        self.gone: bool = False

    @property
    def is_node(self) -> bool:
        """Whether workers live there."""
        return self.role == "node"
