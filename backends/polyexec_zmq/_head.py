"""The head: knows who is there, and has each executor's scheduler place its jobs.

It has no socket, no clock of its own and no thread: whoever drives it hands it letters, and sends
those that it returns. Of what users have pickled it looks at nothing.

A node that is silent for longer than the lease is lost, with all that it was sent; it will have
killed its workers by then. A program that is silent for so long is gone, and what it wanted is
dropped. A head that takes the place of another begins with what those who come to it have; it
places nothing before it has heard of every node of the other's roster, or their leases are over.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
from typing import TYPE_CHECKING, Any, Final

from polyexec_zmq import _wire as wire
from polyexec_zmq._admission import MALFORMED, check, check_channel, check_spec
from polyexec_zmq._inquiries import Inquiries
from polyexec_zmq._members import HeadMember
from polyexec_zmq._placing import Placing
from polyexec_zmq._rate import Rate
from polyexec_zmq._succession import Succession
from polyexec_zmq._tally import Tally
from polyexec_zmq._versions import difference
from polyexec_zmq._work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from polyexec_zmq._journal import Journal
    from polyexec_zmq._relay import Relay


logger = logging.getLogger("polyexec.head")

#: How many seconds a member may be silent, and how often it is to give a sign of life.
LEASE: Final = 20.0
BEAT: Final = 1.0
#: More attempts to join than there will be.
_NEVER: Final = 1 << 64
#: What became of an executor on a node whose workers ended, though it is in use.
_ENDED: Final = "it has ended its workers"
#: Of how many members that are gone it knows a hello that comes late.
_MOST_GONE: Final = 1000


class Head:
    """Members, and their executors; *send* sends a letter to a routing id."""

    def __init__(
        self,
        send: Callable[[HeadMember, list[Any]], None],
        *,
        lease: float = LEASE,
        versions: Mapping[str, Any],
        journal: Journal | None = None,
        relay: Relay | None = None,
    ) -> None:
        self.relay: Relay | None = relay
        self._send_to = send
        self.lease: float = lease
        self._versions = versions
        self.incarnation: str = os.urandom(8).hex()
        self.members: dict[bytes, HeadMember] = {}
        self._by_id: dict[int, HeadMember] = {}
        self.works: dict[tuple[int, int], Work] = {}
        self._dirty: set[Work] = set()
        self._crowded: set[Work] = set()
        self._journal = journal
        self._succession = Succession(journal, lease)
        self._placing = Placing()
        self.inquiries: Inquiries = Inquiries(self)
        self.stopping: bool = False
        #: The processes that need not give signs of life, for whoever drives this watches them.
        self.watched: set[int] = set()
        self.refused: int = 0
        #: Returns how many connections were refused before anybody said anything.
        self.turned_away: Callable[[], int] = int
        self.malformed: Tally = Tally(logger)
        self.rate: Rate = Rate()
        self._done_before = 0
        self._looked: float = 0.0
        self._lost: list[dict[str, Any]] = []
        #: Which attempt to join was the last, of members that are gone and their keys.
        self._gone: dict[tuple[int, str | None], int] = {}

    # -- letters ---------------------------------------------------------------------------------

    def receive(
        self, rid: bytes, frames: list[Any], now: float, key: Callable[[], str | None]
    ) -> list[Any] | None:
        """Take a letter; return one for who sent it if he is no member.

        *key* returns the name of the key that he has proven to have, None if he has none.
        """
        member = self.members.get(rid)
        try:
            kind, peer, number = wire.HEAD.unpack(frames[0])
            if member is None:
                if kind != wire.HELLO:
                    return wire.letter(wire.UNKNOWN)
                return self._join(rid, wire.from_json(frames[1]), now, key())
            member.heard = now
            member.has_spoken = True
            if kind in wire.RELAYED:
                self._relay(member, kind, peer, number, frames)
            elif kind == wire.PING:
                self._send_to(member, wire.letter(wire.PING, 0, number))
            else:
                self._take(member, kind, peer, number, frames)
        except MALFORMED as error:
            self.malformed.add(
                "a letter of %s makes no sense, and is dropped: %s (%d so far)",
                "a stranger" if member is None else f"{member.role} {member.name}",
                f"{type(error).__name__}: {error}"[:200],
            )
        return None

    def _relay(
        self, member: HeadMember, kind: int, peer: int, number: int, frames: list[Any]
    ) -> None:
        other = self._by_id.get(peer)
        if other is not None and other.is_node != member.is_node:
            self.send(other.id, wire.letter(kind, member.id, number, *frames[1:]))
        elif other is None and kind == wire.PULL and peer not in self._succession.awaited:
            self._tell_gone(member, peer)

    def _tell_gone(self, client: HeadMember, node: int) -> None:
        """Tell a program that nothing comes of a node any more."""
        how = wire.to_json({"why": "its node was lost", "host": None})
        self._send_to(client, wire.letter(wire.LOST, node, 0, how, wire.pack_numbers(())))

    def _take(
        self, member: HeadMember, kind: int, peer: int, number: int, frames: list[Any]
    ) -> None:
        if kind == wire.BYE:
            self._leave(member, "it left")
        elif kind == wire.ASK:
            self.inquiries.ask(member, number, wire.from_json(frames[1]))
        elif kind == wire.TELL:
            self.inquiries.told(member, number, wire.from_json(frames[1]))
        elif member.is_node:
            self._from_node(member, kind, peer, number, frames)
        else:
            self._from_client(member, kind, peer, number, frames)

    def send(self, member: int, letter: list[Any]) -> None:
        """Send *letter* to a member, if it is there."""
        found = self._by_id.get(member)
        if found is not None:
            self._send_to(found, letter)

    # -- joining and leaving -----------------------------------------------------------------------

    def _join(
        self, rid: bytes, hello: dict[str, Any], now: float, key: str | None
    ) -> list[Any] | None:
        check(hello)
        if self.stopping:
            return None  # the next head may have him
        wanted = set(self._versions.get("packages") or ())
        if not wanted <= hello.get("packages", {}).keys():
            answer = {"why": "it does not say which versions it has", "packages": sorted(wanted)}
            return wire.letter(wire.REFUSED, 0, 0, wire.to_json(answer))
        known = self._by_id.get(hello["member"])
        problem = self._problem(hello, known, key)
        if problem is not None:
            self.refused += 1
            logger.warning("refused %s %s: %s", hello["role"], hello.get("name", ""), problem)
            return wire.letter(wire.REFUSED, 0, 0, wire.to_json({"why": problem}))
        newest = self._gone.get((hello["member"], key), 0) if known is None else known.attempt
        if hello.get("attempt", 0) < newest:
            return None  # it was overtaken by a later one
        if known is not None:
            del self.members[known.rid]
            hello["draining"] = known.draining or hello.get("draining", False)
            told = known.has_spoken or hello.get("incarnation") is None
            stale = known.stale and not told
        else:
            stale = self._succession.gave_up(hello, self.incarnation, now)
        if stale:
            hello["stations"] = hello["executors"] = []
        member = HeadMember(rid, {**hello, "key": key, "stale": stale}, now)
        member.succeeded = known is not None and known.succeeded
        self.members[rid] = self._by_id[member.id] = member
        self._succession.awaited.discard(member.id)
        # First of all, so that what is sent for it comes behind.
        welcome = {**self._welcome(), "stale": stale}
        self._send_to(member, wire.letter(wire.WELCOME, 0, 0, wire.to_json(welcome)))
        if member.is_node:
            for number in hello.get("former", ()):
                self._note_successor(number, key)
            self._node_joined(member, hello, again=known is not None)
        for work in self._works_of(member.id):
            work.rejoined()
        return None

    def _problem(
        self, hello: dict[str, Any], known: HeadMember | None, key: str | None
    ) -> str | None:
        """Return why who says hello can't join, None if he can."""
        if key is None:
            return "its key is not accepted; have one added with `polyexec keys add`"
        if known is not None and (known.key, known.role) != (key, hello["role"]):
            return "there is a member of that number, which is somebody else"
        return difference(self._versions, hello)

    def _welcome(self) -> dict[str, Any]:
        return {
            "incarnation": self.incarnation,
            "lease": self.lease / 2,
            "fence": self.lease * 0.75,
            "beat": min(BEAT, self.lease / 8),
            "cpus": sum(node.cpus for node in self.nodes()),
            "relay": None if self.relay is None else self.relay.address,
        }

    def nodes(self) -> list[HeadMember]:
        """Return the nodes."""
        return [member for member in self._by_id.values() if member.is_node]

    def _node_joined(self, node: HeadMember, hello: dict[str, Any], *, again: bool) -> None:
        if self._journal is not None:
            self._journal.add(node.id)
        logger.info("node %s on %s joined, with %d CPUs", node.name, node.host, node.cpus)
        self._succession.forget(node.id)
        if not again:
            self._placing.joined(node)
        told = {(each["client"], each["executor"]): each for each in hello["stations"]}
        self._take_stations(node, told, again=again)
        if not again:
            for client, unbegun in self._succession.vouch(node.id, told):
                for work in self._works_of(client):
                    work.vouch(unbegun)
        if node.draining:
            self._dismiss(node)
        self._place_all()

    def _note_successor(self, former: int, key: str | None) -> None:
        """Take note that a node has come back as another one, without what it had."""
        node = self._by_id.get(former)
        if node is not None and node.is_node and node.key == key:
            node.succeeded = node.draining = True

    def _take_stations(
        self, node: HeadMember, told: Mapping[tuple[int, int], dict[str, Any]], *, again: bool
    ) -> None:
        """Take note of what a node has of which executors."""
        for key, station in told.items():
            work = self.works.get(key)
            if work is None:
                self._succession.orphan(key, node.id, station)
            else:
                self._take_station(work, node.id, station)
        for key, work in self.works.items():
            if key not in told:
                work.ended_at(node.id)  # it has said so, and that was lost
                if again and node.id in work.windows:
                    work.resume(node.id, (), ())  # what it was sent has not arrived

    def _take_station(self, work: Work, node: int, station: dict[str, Any]) -> None:
        if station["closing"] and work.closing is None:
            # Another head has told it to end, which had given the program up: what it has is lost,
            # and nothing is placed there before it has.
            self._node_lost_work(self._by_id[node], work, _ENDED)
            work.ending.add(node)
        elif node in work.barred:
            self.send(node, wire.letter(wire.CLOSE, work.client, work.number, wire.KILLED))
        elif node in work.windows:
            work.resume(node, station["jobs"], station["answered"])
        else:
            self._placing.claimed(work, node, station)
            work.claim(node, station["width"], station["jobs"], station["answered"])

    def _works_of(self, client: int) -> list[Work]:
        return [work for work in self.works.values() if work.client == client]

    def _leave(self, member: HeadMember, why: str) -> None:
        if member.gone:
            return
        member.gone = True
        self._gone[member.id, member.key] = _NEVER if member.succeeded else member.attempt
        if len(self._gone) > _MOST_GONE:
            del self._gone[next(iter(self._gone))]
        if self.relay is not None:
            self.relay.part(member.id)
        self.members.pop(member.rid, None)
        if self._by_id.get(member.id) is member:
            del self._by_id[member.id]
        if member.is_node:
            logger.warning("node %s on %s is gone: %s", member.name, member.host, why)
            if self._journal is not None:
                self._journal.remove(member.id)
            self._lost.append({"node": member.name, "host": member.host, "why": why})
            del self._lost[:-100]
            for work in list(self.works.values()):
                self._node_lost_work(member, work, why)
            self._succession.forget(member.id)
            self._placing.left(member)
            self.inquiries.left(member)
            self._place_all()
        else:
            works = self._works_of(member.id)
            for work in works:
                self._drop(work)
            self._succession.left(member.id, member.key, in_use=bool(works))

    def _node_lost_work(self, node: HeadMember, work: Work, why: str) -> None:
        if node.id not in work.windows:
            return
        why = f"node {node.name!r} on host {node.host} was lost ({why})"
        work.lose(node.id, {"node": node.name, "host": node.host, "why": why})
        if work.closing is not None and not work.windows:
            self._closed(work)
        self._dirty.add(work)

    def _drop(self, work: Work) -> None:
        """End an executor whose program is gone."""
        work.close(signal.SIGKILL)
        self._forget(work)

    def _forget(self, work: Work) -> None:
        if self.works.pop((work.client, work.number), None) is not None:
            self._done_before += work.done
        self._placing.release(work)
        self._dirty.discard(work)
        self._crowded.discard(work)

    def _place_all(self) -> None:
        """Share the nodes out anew."""
        for work in self.works.values():
            self._place(work)

    def _place(self, work: Work) -> None:
        if work.closing is None:
            self._placing.place(work, self.nodes())
            self._dirty.add(work)

    # -- what programs tell ------------------------------------------------------------------------

    def _from_client(
        self, member: HeadMember, kind: int, peer: int, number: int, frames: list[Any]
    ) -> None:
        work = self.works.get((member.id, number))
        if kind == wire.CHANNEL:
            self._relay(member, kind, peer, number, frames)
        elif kind == wire.OPEN:
            member.executors.discard(number)
            if work is None:
                self._open(member, number, wire.from_json(frames[1]), bytes(frames[2]))
        elif work is not None:
            self._for_work(work, kind, peer, frames)
        elif kind == wire.CLOSE:
            self.send(member.id, wire.letter(wire.CLOSED, 0, number))

    def _for_work(self, work: Work, kind: int, peer: int, frames: list[Any]) -> None:
        if kind == wire.JOBS:
            work.accept(frames)
            self._dirty.add(work)
        elif kind == wire.ACK:
            work.acknowledged(peer, frames)
        elif kind == wire.CLOSE:
            if work.close(wire.COUNT.unpack(frames[1])[0]):
                self._closed(work)
        else:
            work.take(kind, frames)
            if kind == wire.RESUMED:
                self._resumed(work.client)

    def _resumed(self, client: int) -> None:
        """Forget what another head sent to nodes for a program that has told what it waits for."""
        works = self._works_of(client)
        if not self._by_id[client].executors and all(work.is_resumed for work in works):
            self._succession.resumed(client, {job for work in works for job in work.doubtful})

    def _open(self, member: HeadMember, number: int, spec: dict[str, Any], birth: bytes) -> None:
        check_spec(spec)
        self._succession.came_back(member.id)
        work = Work(
            member.id,
            number,
            spec,
            birth,
            self.send,
            journal=self._journal,
            before=self._succession.sent(member.id),
        )
        self.works[member.id, number] = work
        for node, station in self._succession.adopt((member.id, number)).items():
            if node in self._by_id:
                self._take_station(work, node, station)
        self._place(work)

    def _closed(self, work: Work) -> None:
        self._forget(work)
        self.send(work.client, wire.letter(wire.CLOSED, 0, work.number))

    # -- what nodes tell ---------------------------------------------------------------------------

    def _from_node(
        self, node: HeadMember, kind: int, client: int, number: int, frames: list[Any]
    ) -> None:
        if kind == wire.CHANNEL:
            self._begin_channel(node, client, wire.from_json(frames[1]))
            return
        work = self.works.get((client, number))
        if kind == wire.CLOSED:
            self._workers_ended(node, (client, number))
        elif work is None or node.id in work.ending:
            pass  # its program is gone, or has not come back yet; or had been given up
        elif kind == wire.ANSWERS:
            self.send(client, work.answered(node.id, frames))
            self._dirty.add(work)
        elif kind == wire.BARREN:
            self._do_without(node, work, frames)
        elif kind == wire.RETURNED:
            work.returned(node.id, wire.unpack_numbers(frames[1]))
            self._dirty.add(work)
        elif kind == wire.WITHDRAWN:
            work.withdrawn(*map(wire.unpack_numbers, frames[1:]))
            self.send(client, wire.letter(kind, node.id, number, *frames[1:]))
            self._dirty.add(work)
        else:
            raise ValueError(f"a node has no letters of kind {kind}")

    def _workers_ended(self, node: HeadMember, key: tuple[int, int]) -> None:
        """Take note that the workers of an executor on a node have ended."""
        work = self.works.get(key)
        if work is None:
            self._succession.ended(key, node.id)
        elif work.closing is None:
            self._node_lost_work(node, work, _ENDED)
            work.ended_at(node.id)
            self._place(work)
        elif work.closed(node.id):
            self._closed(work)

    def _begin_channel(self, node: HeadMember, client: int, about: dict[str, Any]) -> None:
        """Have a node and a program meet at the relay."""
        other = self._by_id.get(client)
        if self.relay is None or other is None or other.is_node:
            return
        check_channel({**about, "number": 1})
        number = self.relay.expect((node.id, client))
        if number is not None:
            told = wire.to_json({"key": about["key"], "number": number})
            self._send_to(other, wire.letter(wire.CHANNEL, node.id, 0, told))

    def _do_without(self, node: HeadMember, work: Work, frames: list[Any]) -> None:
        """Have other nodes do what one can't any more; if there are none, the program hears so."""
        why = wire.from_json(frames[1])["why"]
        logger.warning("node %s can have no more workers of an executor: %s", node.name, why)
        out = {node.id, *work.barred}
        if all(other.id in out or other.draining for other in self.nodes()):
            self.send(work.client, wire.letter(wire.EVENT, node.id, work.number, frames[1]))
            return
        how = {
            "node": node.name,
            "host": node.host,
            "why": f"no more workers can be had, for {why}",
        }
        work.bar(node.id, how)
        self._place(work)

    # -- time --------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Place what can be placed, after some letters."""
        if not self._dirty or self._succession.awaited:
            return
        for work in self._dirty:
            work.dispatch()
            if len(work.windows) > 1:
                self._crowded.add(work)
        needing = any(work.needs for work in self._dirty)
        self._dirty.clear()
        if needing and self._placing.review(self.works.values(), self.nodes()):
            for work in self.works.values():
                if work.needs:
                    work.dispatch()

    def look(self, now: float) -> float:
        """Do what is due; return after how many seconds to come back."""
        if self._succession.began is None:
            self._succession.began = self._looked = now
        self._forgive(now)
        self._give_up_the_past(now)
        for member in list(self._by_id.values()):
            silent = now - member.heard
            if member.succeeded and silent > BEAT:  # what was on its way has come
                self._leave(member, "it was out of reach for too long, and has ended its workers")
            elif silent > self.lease and member.pid not in self.watched:
                self._leave(member, f"nothing was heard of it for {self.lease:g} seconds")
            elif now - member.spoke > BEAT:
                self._send_to(member, wire.letter(wire.PING))
        self._crowded = {work for work in self._crowded if work.recall(now)}
        for work in self.works.values():
            work.note_waiting(now)
        self.inquiries.look(now)
        self.rate.note(now, self._done())
        if self._journal is not None and self._journal.is_full:
            self._write_anew(self._journal)
        self.settle()
        return 0.05 if self._crowded else min(BEAT, self.lease / 8)

    def _write_anew(self, journal: Journal) -> None:
        """Write down what the next head has to know, without what came of it by now."""
        held = [self._succession.held()]
        for work in self.works.values():
            held += [work.held(), work.had()]
        journal.begin(itertools.chain.from_iterable(held))

    def _forgive(self, now: float) -> None:
        """Hold it against nobody that this process itself did not run for long.

        Some time counts even so: one that is always late does not wait for the dead for ever.
        """
        missed = now - self._looked - 2 * min(BEAT, self.lease / 8)
        self._looked = now
        if missed > 0:
            for member in self._by_id.values():
                member.heard = min(member.heard + missed, now)
            self._succession.began = (self._succession.began or 0.0) + missed

    def _give_up_the_past(self, now: float) -> None:
        """Go on without nodes and programs that have not come back."""
        overdue = self._succession.overdue(now)
        if overdue:
            logger.warning("%d nodes of the roster have not come back", len(overdue))
        for node in overdue:
            for member in self._by_id.values():
                if not member.is_node:
                    self._tell_gone(member, node)
            if self._journal is not None:
                self._journal.remove(node)
        for client, number, node in self._succession.abandoned(now, self._by_id, self._may_open):
            self.send(node, wire.letter(wire.CLOSE, client, number, wire.KILLED))

    def _may_open(self, key: tuple[int, int]) -> bool:
        """Return whether a program that is here may ask for what nodes have for it."""
        client, number = key
        member = self._by_id.get(client)
        return member is not None and number in member.executors

    def drain(self, node: HeadMember) -> None:
        """Give a node no more; it leaves when it has done what it has."""
        node.draining = True
        self._place_all()
        self._dismiss(node)

    def _dismiss(self, node: HeadMember) -> None:
        """Have a node leave once its programs have all that it has for them; only it knows when."""
        self._send_to(node, wire.letter(wire.ASK, 0, 0, wire.to_json({"what": "leave"})))

    def _done(self) -> int:
        """Return how many tasks have been done."""
        return self._done_before + sum(work.done for work in self.works.values())

    def waits_too_long(self, member: HeadMember) -> None:
        """Give up a member that takes nothing."""
        self._leave(member, "it does not read what it is sent")

    def revoke(self, keys: Iterable[str]) -> None:
        """Part with members whose keys are not accepted any more."""
        gone = set(keys)
        for member in [member for member in self._by_id.values() if member.key in gone]:
            self._send_to(member, wire.letter(wire.BYE, 0, 0, wire.to_json("its key is revoked")))
            self._leave(member, "its key was revoked")

    def stop(self) -> None:
        """Say goodbye to all."""
        self.stopping = True
        for member in list(self._by_id.values()):
            self._send_to(member, wire.letter(wire.BYE, 0, 0, wire.to_json("the head stops")))

    @property
    def crowded(self) -> bool:
        """Whether jobs may wait at one node while another has nothing to do."""
        return bool(self._crowded)

    @property
    def losses(self) -> list[dict[str, Any]]:
        """The nodes that were lost last, and why."""
        return list(self._lost)
