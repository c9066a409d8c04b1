"""A node: the workers of one machine, for whichever programs the head sends it jobs of.

A node that has not heard its head for most of the lease kills its workers, before the head gives
it up and has others run what they had. It goes on trying to come back, with nothing.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from polyexec_process.engine import Births
from polyexec_zmq import _wire as wire
from polyexec_zmq._admission import MALFORMED
from polyexec_zmq._exchange import Exchange
from polyexec_zmq._house import InnerLine
from polyexec_zmq._hub import new_member
from polyexec_zmq._line import Line
from polyexec_zmq._output import Outputs
from polyexec_zmq._station import Station
from polyexec_zmq._versions import versions
from polyexec_zmq._zmqconnection import ZmqConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from polyexec import ClusterError
    from polyexec_zmq._channel import Channels
    from polyexec_zmq._house import House
    from polyexec_zmq._keys import Credentials
    from polyexec_zmq._loop import HeadLoop


logger = logging.getLogger("polyexec.node")


class Node:
    """Workers for the head at *address*; *cpus* says for how many it is good.

    *env* is set in its workers, *method* is how they are born. It has no connection if it lives in
    the *house* of the head. *tell* is told when it has `joined`, lost its connection (`cut`), or
    `ended`; on any thread. *spare* is a nursery that the first executor may have.
    """

    def __init__(
        self,
        address: str,
        credentials: Credentials | None,
        *,
        cpus: int,
        method: str,
        name: str,
        env: Mapping[str, str],
        patience: float | None = None,
        resources: Mapping[str, int] | None = None,
        worker_prefix: str = "ZmqProcess",
        house: HeadLoop | None = None,
        spare: Births | None = None,
        connect_timeout: float | None = None,
        tell: Callable[[str], object] = str,
    ) -> None:
        self.member: int = new_member()
        self.cpus: int = cpus
        self.method: str = method
        self.name: str = name
        self.env: Mapping[str, str] = env
        self.worker_prefix: str = worker_prefix
        self._resources = dict(resources or {})
        self.line: Line | InnerLine
        channels: Channels | None = None
        if house is None:
            connection = ZmqConnection(address, credentials)
            channels = connection.channels
            self.line = Line(self, address, connection, patience, connect_timeout=connect_timeout)
        else:
            self.line = InnerLine(self, house)
        self.exchange: Exchange = Exchange(self.line.send, channels, offers=True)
        self._stations: dict[tuple[int, int], Station] = {}
        self._later: list[list[Any]] = []
        self._drains = self._told_drain = self._dismissed = False
        self._tell = tell
        self._incarnation: str | None = None
        #: Which members it was before, whose workers have ended; the head may not know so.
        self._former: list[int] = []
        self._told_former = 0
        self._outputs: Outputs | None = None
        if house is None and sys.platform == "linux":
            self._outputs = Outputs(self._output)
            assert isinstance(self.line, Line)
            self.line.watch(self._outputs.fileno())
        #: Whose thread the pools' reactors are on, None if they have threads of their own.
        self.host: House | None = None if house is None else house.house
        self._spare = spare
        self._lock = threading.Lock()
        self._fence: threading.Timer | None = None
        self._fence_after = 0.0
        #: Whether the workers were killed since it last told what it has.
        self._fenced = False
        #: Whether what it has of large data is for workers that were killed.
        self._bereft = False
        #: Why it has ended, once it has.
        self.failure: ClusterError | None = None
        self.ended: threading.Event = threading.Event()
        self.left: bool = False

    @property
    def output_address(self) -> str | None:
        """Where workers' streams are connected to; None if they inherit them."""
        return None if self._outputs is None else self._outputs.address

    def _output(self, about: dict[str, Any], lines: bytes) -> None:
        station = self._stations.get((about["client"], about["executor"]))
        if station is not None:
            station.output(about, lines)

    def start(self) -> None:
        """Join."""
        self.line.start()

    def births(self, env: Mapping[str, str], cpus: int, _: threading.Thread | None) -> Births:
        """Return a nursery for workers with *env*, each of which has so many *cpus*."""
        if not env and cpus == 1:
            with self._lock:
                spare, self._spare = self._spare, None
            if spare is not None:
                if spare.is_there:
                    return spare
                spare.close()
        return Births(self.method, None, {**self.env, **env}, [], cpus)

    def drain(self) -> None:
        """Leave once what runs has ended, or the head has been out of reach for too long."""
        self._drains = True
        self.line.wake()
        with self._lock:
            may_come_back = self._fence is not None
        if not (self.line.up or may_come_back) and self._is_done():
            self.close()

    def close(self) -> None:
        """End, with all workers."""
        self.left = True
        self.line.close()
        self._kill_all()
        self._end()

    # -- the line's member -------------------------------------------------------------------------

    def hello(self) -> dict[str, Any]:
        """Return what to join with."""
        with self._lock:  # at one time, for a timer may make another node of it
            self._fenced = False
            member, incarnation, former = self.member, self._incarnation, list(self._former)
            stations = list(self._stations.values())
        self._told_former = len(former)
        return {
            "role": "node",
            "incarnation": incarnation,
            "member": member,
            "former": former,
            "name": self.name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "cpus": self.cpus,
            "memory": _memory(),
            "resources": self._resources,
            "draining": self._drains,
            "stations": [station.inventory() for station in stations],
            **versions(),
        }

    def joined(self, welcome: dict[str, Any]) -> None:
        """Tell all again that may not have arrived."""
        with self._lock:
            fence, self._fence = self._fence, None
            fenced = self._fenced
            del self._former[: self._told_former]
        if fence is not None:
            fence.cancel()
        self._fence_after = welcome["fence"]
        if welcome["stale"]:
            self._kill_all()
            self._incarnation = None
        if welcome["stale"] or fenced:
            assert isinstance(self.line, Line)
            self.line.again()  # the head has been told of what there is no more
            return
        self._incarnation = welcome["incarnation"]
        if self._bereft:
            self._bereft = False
            self.exchange.clear()
        self.exchange.welcomed(welcome)
        for station in self._stations.values():
            station.resend()
        self.exchange.incoming.resume()
        self._tell("joined")

    def receive(self, kind: int, peer: int, number: int, frames: list[Any]) -> None:
        """Take a letter; one that makes no sense hurts only who wrote it."""
        try:
            self._receive(kind, peer, number, frames)
        except MALFORMED:
            logger.warning(
                "a letter of kind %d makes no sense, and is dropped", kind, exc_info=True
            )

    def _receive(self, kind: int, peer: int, number: int, frames: list[Any]) -> None:
        if self.exchange.take(kind, peer, number, frames):
            return
        if kind == wire.LOST:
            self.exchange.incoming.lose(peer, "its program is gone")
        elif kind == wire.ASK:
            self._answer(number, wire.from_json(frames[1]))
        elif kind == wire.OPEN:
            if (peer, number) not in self._stations:
                spec = wire.from_json(frames[1])
                self._stations[peer, number] = Station(self, peer, number, spec, frames[2])
        elif (station := self._stations.get((peer, number))) is not None:
            station.take(kind, frames)
        elif kind == wire.CLOSE:
            self.line.send(wire.letter(wire.CLOSED, peer, number))

    def _answer(self, number: int, question: dict[str, Any]) -> None:
        if question["what"] == "leave":
            self._drains = self._told_drain = self._dismissed = True
            return
        station = self._stations.get((question["client"], question["executor"]))
        if station is None:
            self.line.send(wire.letter(wire.TELL, 0, number, wire.to_json([])))
            return

        def answer() -> None:  # on a thread of its own, for it waits for workers being born
            workers = wire.to_json(station.describe())
            self._later.append(wire.letter(wire.TELL, 0, number, workers))
            self.line.wake()

        threading.Thread(target=answer, name="polyexec-describing", daemon=True).start()

    def flush(self) -> float | None:
        """Send what there is."""
        while self._later:
            self.line.send(self._later.pop(0))
        self.exchange.flush()
        if self._drains and not self._told_drain:
            self._told_drain = True
            question = wire.to_json({"what": "drain"})
            self.line.send(wire.letter(wire.ASK, 0, 1, question))
        stations = list(self._stations.values())
        if self._outputs is None:
            waits = [station.flush(len(station.outbox)) for station in stations]
        else:
            # What is written before an answer goes before it: what has come by now waits for that.
            pending = [len(station.outbox) for station in stations]
            self._outputs.look()
            waits = [station.flush(most) for station, most in zip(stations, pending, strict=True)]
        if self._dismissed and not self.left and self._is_done():
            self.left = True
            self.line.close()
        return min((wait for wait in waits if wait is not None), default=None)

    def _is_done(self) -> bool:
        stations = self._stations.values()
        return self.exchange.outgoing.is_empty and all(station.is_done for station in stations)

    def _end(self) -> None:
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()
        if not self.ended.is_set():
            if self._outputs is not None:
                self._outputs.close()
            self.ended.set()
            self._tell("ended")

    def forget(self, station: Station) -> None:
        """Forget a station whose workers have ended."""
        self._stations.pop((station.client, station.number), None)
        if not any(client == station.client for client, _ in self._stations):
            self.exchange.outgoing.release(station.client)
            self.exchange.incoming.lose(station.client, "the program has ended")

    def cut(self) -> None:
        """Take note that the session has ended; a time begins in which it may come back.

        It is counted from when the head last heard of this node.
        """
        if self.left:
            self._kill_all()
            self._end()
            return
        self._tell("cut")
        assert isinstance(self.line, Line)
        left = self._fence_after - (time.monotonic() - self.line.confirmed)
        if left <= 0:
            self._kill_all()
            self._leave_if_draining()
            return
        timer = threading.Timer(left, lambda: self._fence_off(timer))
        timer.daemon = True
        with self._lock:
            self._fence = timer
        timer.start()

    def _fence_off(self, timer: threading.Timer) -> None:
        """Kill all workers, unless a session has begun meanwhile."""
        with self._lock:
            if self._fence is not timer:
                return
            self._fence = None
            self._fenced = True
            stations, member = self._part()
        self._kill(stations, member)
        self._leave_if_draining()

    def _leave_if_draining(self) -> None:
        """Leave if that is wanted, now that there is nothing left to tell."""
        if self._drains:
            self.left = True
            self.line.close()
            self._end()

    def _kill_all(self) -> None:
        """Kill all workers, for somebody else may be told to do what they do."""
        with self._lock:
            stations, member = self._part()
        self._kill(stations, member)

    def _part(self) -> tuple[list[Station], int]:
        """Part with all stations; return them, and the member whose they were.

        With another number it is another node from now on, of which nobody expects anything.
        """
        member = self.member
        stations, self._stations = list(self._stations.values()), {}
        if stations:
            self.member = new_member()
            self._incarnation = None
            self._bereft = True
        return stations, member

    def _kill(self, stations: list[Station], member: int) -> None:
        for station in stations:
            station.close(signal.SIGKILL)
        for station in stations:
            station.pool.join()
        if stations:
            with self._lock:
                self._former.append(member)

    def failed(self, error: ClusterError) -> None:
        """Take note that the head is lost for good."""
        self.failure = error
        self._kill_all()
        self._end()


def _memory() -> int:
    """Return how many bytes of memory the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
