"""A whole cluster without a socket, a thread or a process: what happens when is the test's choice.

Head, hub, remote pool, node and station are the real ones. What is simulated is the network, whose
sessions lose what is on its way to a member when they are cut, and the local pools. What is on its
way to the head then is lost from some letter on; what is not may come late, behind letters of the
member's next session.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any
from unittest import mock

from polyexec.scheduling import Job
from polyexec.scheduling.job import WITHDRAWN
from polyexec_process._frames import NONE
from polyexec_zmq import _hub, _node, _shipping, _station
from polyexec_zmq import _wire as wire
from polyexec_zmq._head import Head
from polyexec_zmq._hub import Hub
from polyexec_zmq._node import Node
from polyexec_zmq._remotepool import RemotePool
from polyexec_zmq._versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polyexec_zmq._members import HeadMember

MOST_NODES = 3
#: A connection that the network of the simulation takes the place of.
NO_CHANNELS = mock.Mock(channels=None)
SPEC: dict[str, Any] = {
    "workers": None,
    "expected": 1,
    "env": {},
    "max_tasks": None,
    "max_memory": None,
    "idle_timeout": None,
}


class Line:
    """A member's line, whose letters the network carries."""

    thread = None
    is_current = False
    lease = 1.0

    def __init__(self, member: Any, *_: Any, **__: Any) -> None:
        self.member = member
        self.up = self.ends = False
        self.rid: bytes = b""
        self.attempts = itertools.count(1)
        self.sent: deque[list[Any]] = deque()
        self.coming: deque[list[Any]] = deque()

    def send(self, letter: list[Any]) -> None:
        """Put *letter* on its way, if a session is on."""
        if self.up:
            self.sent.append([bytes(frame) for frame in letter])

    def watch(self, fd: int) -> None:
        """Do nothing."""

    def again(self) -> None:
        """Have this session end, and another begin."""
        self.ends = True

    def wake(self) -> None:
        """Do nothing: the test decides when somebody acts."""


class Pool:
    """A local pool, whose jobs run when the test says so."""

    def __init__(self, size: int, client: Any, *_: Any, **__: Any) -> None:
        self.size = size
        self.client = client
        self.waiting: list[Job] = []
        self.running: list[Job] = []
        self.closed = False

    @property
    def outstanding(self) -> int:
        """How many jobs have not ended."""
        return len(self.waiting) + len(self.running)

    def submit(self, job: Job) -> None:
        """Take *job*."""
        if self.closed:
            self.client.stopped(job)
        else:
            self.waiting.append(job)

    def withdraw(self, job: Job) -> bool:
        """Take back *job*, if it waits."""
        if job in self.waiting:
            self.waiting.remove(job)
            return True
        return False

    def begin(self) -> Job | None:
        """Begin a job."""
        if not self.waiting or len(self.running) >= self.size:
            return None
        job = self.waiting.pop(0)
        self.running.append(job)
        self.client.started([job], "ZmqProcess-1")
        return job

    def finish(self) -> None:
        """End a job that runs."""
        if self.running:
            self.client.ended([self.running.pop(0)], [(NONE, 0.001, b"", ())])

    def kill_soon(self, job: Job) -> None:
        """Stop *job*."""
        if job in self.running:
            self.running.remove(job)
            self.client.stopped(job)

    def resize(self, size: int) -> None:
        """Have so many workers."""
        self.size = size

    def want_worker(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """End."""
        self.closed = True

    def terminate(self, _: Any) -> None:
        """End all."""
        self.closed = True
        jobs, self.waiting, self.running = self.waiting + self.running, [], []
        for job in jobs:
            self.client.stopped(job)

    def join(self) -> None:
        """Do nothing."""


class Crew:
    """Writes down what becomes of jobs."""

    def __init__(self) -> None:
        self.outcomes: dict[Any, str] = {}
        self.running: set[Any] = set()

    def _end(self, job: Job, how: str) -> None:
        assert job.owner.name not in self.outcomes, "an outcome was delivered twice"
        self.outcomes[job.owner.name] = how

    def started(self, jobs: list[Job], _: str) -> None:
        """Take note."""
        for job in jobs:
            assert job.owner.name not in self.running, "a job was started twice"
            self.running.add(job.owner.name)

    def moved(self, job: Job, _: str) -> None:
        """Take note."""
        assert job.owner.name in self.running, "a job moved that was not started"

    def unstarted(self, jobs: list[Job]) -> None:
        """Take note."""
        for job in jobs:
            self.running.remove(job.owner.name)

    def ended(self, jobs: list[Job], _: Any) -> None:
        """Take note."""
        for job in jobs:
            self._end(job, "ended")

    def lost(self, job: Job, _: Any) -> None:
        """Take note."""
        self._end(job, "lost")

    def stopped(self, job: Job) -> None:
        """Take note."""
        self._end(job, "stopped")

    def worker_started(self, worker: str) -> None:
        """Do nothing."""

    def broken(self, error: Exception) -> None:
        """Fail: no cluster is given up here."""
        raise error


class Owner:
    """Stands in for a job's task."""

    def __init__(self, name: int) -> None:
        self.name = name


class Cluster:
    """One head at a time, one program, and nodes."""

    def __init__(self) -> None:
        #: What is left to do for stations whose workers are about to end.
        self._closings: deque[Callable[[], None]] = deque()
        self._patches: list[Any] = [
            mock.patch.object(_hub, "Line", Line),
            mock.patch.object(_node, "Line", Line),
            mock.patch.object(_node, "ZmqConnection", mock.Mock(return_value=NO_CHANNELS)),
            mock.patch.object(_node, "Outputs", mock.Mock()),
            mock.patch.object(_station, "LocalPool", Pool),
            mock.patch.object(_station, "threading", mock.Mock(Thread=self._defer)),
            mock.patch.object(_shipping, "_ACKNOWLEDGE", 1),  # for no time passes here
            mock.patch("socket.gethostname", return_value="here"),
        ]
        for patch in self._patches:
            patch.start()
        self._rids = itertools.count(1)
        self.now = 0.0
        self.roster: set[int] = set()
        self.sent: dict[int, dict[int, int]] = {}
        self.head = self._new_head()
        self.crew = Crew()
        self.hub: Any = Hub("nowhere", NO_CHANNELS, 60.0)
        self.pool = RemotePool(self.hub, self.crew, SPEC, lambda: b"")  # type: ignore[arg-type]
        self.nodes: list[Any] = []
        self.jobs: list[Job] = []
        self.runs: dict[int, int] = {}
        self._asked: dict[int, Job] = {}
        self._to_stop: set[int] = set()
        self.fenced = False
        #: Sessions that were cut, and what of them is still to come.
        self._late: deque[tuple[bytes, deque[list[Any]]]] = deque()
        self.connect(self.hub)

    def close(self) -> None:
        """Let the next one be."""
        for patch in self._patches:
            patch.stop()

    def _new_head(self) -> Head:
        journal: Any = mock.Mock(is_full=False)
        before = {program: dict(sent) for program, sent in self.sent.items()}
        journal.read.side_effect = lambda: (set(self.roster), before)
        journal.add.side_effect = self.roster.add
        journal.remove.side_effect = self.roster.discard
        journal.sent.side_effect = self._note_sent
        journal.given_back.side_effect = self._note_given_back
        journal.begin.side_effect = self._note_anew
        journal.lost.side_effect = lambda program, numbers: self._note_sent(program, 0, numbers)
        return Head(self._deliver, lease=20.0, versions=versions(), journal=journal)

    def _note_sent(self, program: int, node: int, numbers: list[int]) -> None:
        self.sent.setdefault(program, {}).update(dict.fromkeys(numbers, node))

    def _note_anew(self, held: Iterable[tuple[int, int, list[int]]]) -> None:
        self.sent.clear()
        for program, node, numbers in list(held):
            self._note_sent(program, node, numbers)

    def _note_given_back(self, program: int, numbers: list[int]) -> None:
        for number in numbers:
            self.sent[program].pop(number, None)

    def _defer(self, target: Callable[[], None], **_: Any) -> Any:
        return mock.Mock(start=lambda: self._closings.append(target))

    # -- the network -------------------------------------------------------------------------------

    def members(self) -> list[Any]:
        """Return all members, nodes last."""
        return [self.hub, *self.nodes]

    def member(self, place: int) -> Any:
        """Return one of the members."""
        members = self.members()
        return members[place % len(members)]

    def _deliver(self, member: HeadMember, letter: list[Any]) -> None:
        for each in self.members():
            if each.line.rid == member.rid:
                each.line.coming.append([bytes(frame) for frame in letter])

    def connect(self, member: Any) -> None:
        """Begin a session."""
        if member.line.rid:
            return
        member.line.rid = b"\1%d" % next(self._rids)
        hello = {**member.hello(), "attempt": next(member.line.attempts)}
        member.line.sent.append(wire.letter(wire.HELLO, 0, 0, wire.to_json(hello)))

    def cut(self, member: Any) -> None:
        """End a session; what is on its way to the head may come yet."""
        line = member.line
        if line.sent:
            self._late.append((line.rid, line.sent))
            line.sent = deque()
        line.rid, line.up = b"", False
        line.coming.clear()

    def come_late(self, place: int, most: int) -> None:
        """Let some letters arrive of a session that was cut."""
        if self._late:
            self._late.rotate(place)
            rid, letters = self._late[0]
            for _ in range(min(most, len(letters))):
                self._to_head(rid, letters.popleft())
            if not letters:
                self._late.popleft()
            self.head.settle()

    def carry(self, member: Any, *, up: bool, most: int) -> bool:
        """Let some letters arrive; return whether there were any."""
        line = member.line
        if line.up:
            member.flush()
        queue = line.sent if up else line.coming
        count = min(most, len(queue))
        for _ in range(count):
            if not queue:
                break
            letter = queue.popleft()
            if up:
                reply = self._to_head(line.rid, letter)
                if reply is not None:
                    line.coming.append(reply)
            else:
                self._to_member(member, letter)
        self.head.settle()
        return count > 0

    def _to_head(self, rid: bytes, letter: list[Any]) -> list[Any] | None:
        self.now += 0.001
        return self.head.receive(rid, letter, self.now, lambda: "")

    def _to_member(self, member: Any, letter: list[Any]) -> None:
        kind, peer, number = wire.HEAD.unpack(letter[0])
        if kind == wire.WELCOME:
            member.line.up = True
            member.joined(wire.from_json(letter[1]))
            if member is not self.hub:
                member._fence_after = 0.0
            if member.line.ends:
                member.line.ends = False
                self.cut(member)
        elif kind in (wire.UNKNOWN, wire.BYE):
            self.cut(member)
        elif kind != wire.PING:
            assert kind != wire.REFUSED, wire.from_json(letter[1])
            member.receive(kind, peer, number, letter)

    def exchange(self) -> None:
        """Let all letters arrive."""
        for member in self.members():
            self.connect(member)
            self.carry(member, up=True, most=1000)
            self.carry(member, up=False, most=1000)

    # -- what happens ------------------------------------------------------------------------------

    def add_node(self, cpus: int) -> None:
        """Have one more node, unless there are enough."""
        if len(self.nodes) >= MOST_NODES:
            return
        name = f"node {len(self.nodes)}"
        node = Node("nowhere", None, cpus=cpus, method="fork", name=name, env={})
        self.nodes.append(node)
        self.connect(node)

    def submit(self, count: int) -> None:
        """Submit some jobs."""
        for _ in range(count):
            job = Job(-1, (b"", b"", None), Owner(len(self.jobs)))
            self.jobs.append(job)
            self.pool.submit(job)

    def _job(self, place: int) -> Job | None:
        return self.jobs[place % len(self.jobs)] if self.jobs else None

    def withdraw(self, place: int) -> None:
        """Ask for a job back, as `RemotePool.withdraw` does; nobody waits for the answer here."""
        pool, job = self.pool, self._job(place)
        if job is None:
            return
        with pool.lock:
            if pool._withdrawn_here(job):
                self.crew.outcomes[job.owner.name] = "withdrawn"
            elif job.place in pool._jobs:
                self._asked[job.place] = job
                pool._withdrawing.add(job.place)
                pool._send(wire.WITHDRAW, wire.pack_numbers([job.place]))

    def kill(self, place: int) -> None:
        """Ask for a job to be stopped, as `RemotePool.kill` does."""
        pool, job = self.pool, self._job(place)
        if job is None:
            return
        with pool.lock:
            if job.place in pool._jobs:
                self._to_stop.add(job.owner.name)
                pool._killing[job.place] = job
                pool._send(wire.KILL, wire.pack_numbers([job.place]))

    def look_at_withdrawn(self) -> None:
        """Take note of the jobs that were given back for good."""
        for number, job in list(self._asked.items()):
            if job.state == WITHDRAWN:
                del self._asked[number]
                assert self.runs.get(number, 0) == 0, "what was withdrawn has run"
                self.crew.outcomes[job.owner.name] = "withdrawn"

    def pools(self, place: int) -> list[Any]:
        """Return the pools of a node."""
        if not self.nodes:
            return []
        node = self.nodes[place % len(self.nodes)]
        return [station.pool for station in node._stations.values()]

    def begin(self, place: int) -> None:
        """Have a node's workers begin what they can."""
        for pool in self.pools(place):
            while (job := pool.begin()) is not None:
                number = job.owner.name
                self.runs[number] = self.runs.get(number, 0) + 1
                assert self.runs[number] == 1, "an attempt ran twice"

    def finish(self, place: int) -> None:
        """Have a node's workers end a job each."""
        for pool in self.pools(place):
            pool.finish()

    def recall(self, place: int, count: int) -> None:
        """Have the head ask a node for jobs that it has not begun."""
        for work in self.head.works.values():
            nodes = list(work.windows)
            if nodes:
                work.ask_back(nodes[place % len(nodes)], count)

    def fence(self, place: int) -> None:
        """Have a node out of reach for so long that it is given up, and gives up."""
        if not self.nodes:
            return
        self.fenced = True
        node = self.nodes[place % len(self.nodes)]
        self.cut(node)
        number = node.member
        node._kill_all()
        for member in self.head.nodes():
            if member.id == number:
                self.head._leave(member, "it was silent")
        self.head.settle()

    def stray(self, place: int) -> None:
        """Have a node out of reach for so long that it gives up; the head has not noticed."""
        if self.nodes:
            self.fenced = True
            node = self.nodes[place % len(self.nodes)]
            self.cut(node)
            node._kill_all()

    def end_workers(self) -> None:
        """Have the workers end of a station that is being closed."""
        if self._closings:
            self._closings.popleft()()

    def give_up(self) -> None:
        """Have the head give the program up."""
        for member in list(self.head.members.values()):
            if not member.is_node:
                self.fenced = True
                self.head._leave(member, "it was silent")

    def write_anew(self) -> None:
        """Have the head write down what the next one has to know."""
        assert self.head._journal is not None
        self.head._write_anew(self.head._journal)

    def restart_head(self) -> None:
        """Have another head take the place of this one."""
        for member in self.members():
            self.cut(member)
        self._late.clear()
        self.head = self._new_head()

    def settle(self) -> None:
        """Let all go on without faults until nothing is left to do."""
        if not self.nodes:
            self.add_node(1)
        for _ in range(10_000):
            busy = False
            for member in self.members():
                self.connect(member)
                busy |= self.carry(member, up=True, most=1000)
                busy |= self.carry(member, up=False, most=1000)
            for place, node in enumerate(self.nodes):
                self.begin(place)
                self.finish(place)
                busy |= any(pool.outstanding for pool in self.pools(place))
                busy |= any(station.outbox for station in node._stations.values())
            self.end_workers()
            self.look_at_withdrawn()
            if not busy and len(self.crew.outcomes) == len(self.jobs):
                assert not self.pool._withdrawing, "nobody answered who asked for jobs back"
                assert not self.pool._killing, "nobody answered who asked to stop jobs"
                assert not self.pool._jobs
                lost = "lost" in self.crew.outcomes.values()
                assert self.fenced or not lost, "a job was lost, and no node was"
                stopped = {job for job, how in self.crew.outcomes.items() if how == "stopped"}
                assert stopped <= self._to_stop, "a job was stopped that nobody asked to"
                return
            if not busy:
                self.now += 1.0
                for member in self.members():
                    if member.line.up:
                        member.line.send(wire.letter(wire.PING))
                self.head.look(self.now)
        missing = [job.owner.name for job in self.jobs if job.owner.name not in self.crew.outcomes]
        raise AssertionError(f"jobs never ended: {missing}")
