"""Questions to the head, some of which it passes on to its nodes."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any, Final

from polyexec_zmq import _wire as wire

if TYPE_CHECKING:
    from polyexec_zmq._head import Head
    from polyexec_zmq._members import HeadMember

#: How many seconds nodes may take to answer.
_PATIENCE: Final = 5.0
#: How many seconds pass until a head that is to stop does so: what a connection has brought is lost
#: if it ends before that was read.
_FAREWELL: Final = 0.2


class _Inquiry:
    """One question that waits for nodes."""

    def __init__(self, asker: int, number: int, nodes: set[int]) -> None:
        self.asker = asker
        self.number = number
        self.nodes = nodes
        self.answers: list[dict[str, Any]] = []
        self.ends = time.monotonic() + _PATIENCE


class Inquiries:
    """The questions of *head*'s members."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._numbers = itertools.count(1)
        self._open: dict[int, _Inquiry] = {}
        self._stops_at: float | None = None

    def ask(self, member: HeadMember, number: int, question: dict[str, Any]) -> None:
        """Answer a member's question, now or later."""
        what = question["what"]
        if what == "workers":
            self._ask_nodes(member, number, question["executor"])
        elif what == "cpus":
            self._tell(member.id, number, sum(node.cpus for node in self._head.nodes()))
        elif what == "status":
            self._tell(member.id, number, self.status(besides=member))
        elif what == "drain":
            self._tell(member.id, number, self._drain(member, question.get("node")))
        elif what == "stop":
            self._tell(member.id, number, {})
            self._stops_at = time.monotonic() + _FAREWELL
        else:
            self._tell(member.id, number, {"error": f"there is no question {what!r}"})

    def _tell(self, member: int, number: int, answer: Any) -> None:
        self._head.send(member, wire.letter(wire.TELL, 0, number, wire.to_json(answer)))

    def _ask_nodes(self, member: HeadMember, number: int, executor: int) -> None:
        work = self._head.works.get((member.id, executor))
        self._head.settle()  # so that workers are begun that the jobs before this one want
        inquiry = _Inquiry(member.id, number, set(work.windows) if work is not None else set())
        if not inquiry.nodes:
            self._tell(member.id, number, [])
            return
        own = next(self._numbers)
        self._open[own] = inquiry
        question = {"what": "workers", "client": member.id, "executor": executor}
        for node in inquiry.nodes:
            self._head.send(node, wire.letter(wire.ASK, 0, own, wire.to_json(question)))

    def told(self, node: HeadMember, number: int, answer: list[dict[str, Any]]) -> None:
        """Take a node's answer."""
        inquiry = self._open.get(number)
        if inquiry is not None and node.id in inquiry.nodes:
            inquiry.answers += answer
            inquiry.nodes.discard(node.id)
            self._complete(number, inquiry)

    def left(self, node: HeadMember) -> None:
        """Expect no answer of a node any more."""
        for number, inquiry in list(self._open.items()):
            inquiry.nodes.discard(node.id)
            self._complete(number, inquiry)

    def look(self, now: float) -> None:
        """Answer what nodes have had time enough for."""
        if self._stops_at is not None and now > self._stops_at:
            self._head.stop()
        for number, inquiry in list(self._open.items()):
            if now > inquiry.ends:
                inquiry.nodes.clear()
                self._complete(number, inquiry)

    def _complete(self, number: int, inquiry: _Inquiry) -> None:
        if not inquiry.nodes:
            del self._open[number]
            self._tell(inquiry.asker, inquiry.number, inquiry.answers)

    def _drain(self, member: HeadMember, name: str | None) -> Any:
        """Drain the nodes of that name, or the one that asks to be."""
        nodes = self._head.nodes()
        found = [node for node in nodes if (node is member if name is None else node.name == name)]
        for node in found:
            self._head.drain(node)
        if found:
            return {}
        known = ", ".join(sorted(node.name for node in self._head.nodes())) or "none"
        return {"error": f"there is no node {name!r}; there are: {known}"}

    def status(self, besides: HeadMember | None = None) -> dict[str, Any]:
        """Return what is known of the whole cluster, without the program that asks."""
        head, now = self._head, time.monotonic()
        held: dict[int, int] = {}
        for work in head.works.values():
            for _, node, numbers in work.held():
                held[node] = held.get(node, 0) + len(numbers)
        return {
            "incarnation": head.incarnation,
            "nodes": [
                {
                    "name": node.name,
                    "host": node.host,
                    "cpus": node.cpus,
                    "memory": node.memory,
                    "resources": node.resources,
                    "draining": node.draining,
                    "tasks": held.get(node.id, 0),
                    "seconds": round(now - node.joined, 1),
                    "silent": round(now - node.heard, 1),
                }
                for node in head.nodes()
            ],
            "clients": [
                {
                    "name": member.name,
                    "key": member.key,
                    "seconds": round(now - member.joined, 1),
                }
                for member in head.members.values()
                if not member.is_node and member is not besides
            ],
            "executors": [work.describe() for work in head.works.values()],
            "channels": None
            if head.relay is None
            else {"open": head.relay.count, "bytes": head.relay.passed},
            "per_second": head.rate.per_second,
            "lost": head.losses,
            "refused": head.refused,
            "turned_away": head.turned_away()
            + (0 if head.relay is None else head.relay.turned_away),
            "malformed": head.malformed.count,
        }
