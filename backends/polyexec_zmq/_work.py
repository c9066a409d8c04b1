"""One executor, as a head sees it: its jobs, its workers' places, and who places which where."""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from polyexec.scheduling import Job, Scheduler, SiteWindow
from polyexec_zmq import _wire as wire
from polyexec_zmq._journal import NOBODY
from polyexec_zmq._past import Past

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from polyexec_zmq._journal import Journal

    #: A letter's number, and the jobs that it answers.
    Answered: TypeAlias = tuple[int, list[int]]

#: How many seconds a node may be silent before what it has not begun is recalled for another.
PATIENCE: Final = 0.05
#: After how many seconds a program hears that no node can run its jobs.
WAITING: Final = 5.0


class Work:
    """The executor *number* of the program *client*; *send* sends a letter to a member.

    *before* is to which node another head has sent which of its jobs.
    """

    def __init__(
        self,
        client: int,
        number: int,
        spec: Mapping[str, Any],
        birth: bytes,
        send: Callable[[int, list[Any]], None],
        *,
        journal: Journal | None = None,
        before: dict[int, int] | None = None,
    ) -> None:
        self.client: int = client
        self.number: int = number
        self.spec: Mapping[str, Any] = spec
        self._birth = birth
        self._send = send
        self._journal = journal
        self._before = {} if before is None else before
        #: Whether its program has told all that it has to tell a new head.
        self._resumed: bool = not spec.get("again")
        self.wanted: int | None = spec["workers"]
        #: What each of its workers must have, and which of that they have, by node.
        self.needs: dict[str, int] = spec.get("needs", {})
        self._units: Mapping[int, Mapping[str, list[int]]] = {}
        #: The signal that its workers are ended by, None while it is in use.
        self.closing: int | None = spec.get("closing")
        self.scheduler: Scheduler = Scheduler()
        self.windows: dict[int, SiteWindow] = {}
        self.jobs: dict[int, Job] = {}
        #: Jobs that nodes said to have before their program told us of them, by number.
        self._claims: dict[int, int] = {}
        self._functions: dict[int, bytes] = {}
        self._taught: dict[int, set[int]] = {}
        self._recalled: set[int] = set()
        self._past = Past()
        #: What may have begun, and no node has told of so far.
        self._doubtful: dict[int, Job] = {}
        #: What nodes were asked to stop, or to give back, and how: they may not have heard it.
        self._asked: dict[int, int] = {}
        #: The nodes that can have no workers of it any more.
        self.barred: set[int] = set()
        #: Those that have yet to end workers of it, and can have no others before.
        self.ending: set[int] = set()
        self._waits_since: float | None = None
        self._told_waiting = False
        self.done: int = 0
        self.lost: int = 0

    # -- places ------------------------------------------------------------------------------------

    @property
    def useful(self) -> int:
        """How many workers it could use."""
        jobs = len(self.jobs)
        return jobs if self.wanted is None else min(jobs, self.wanted)

    @property
    def doubtful(self) -> Iterable[int]:
        """The jobs of which no node has told so far, and that may have begun."""
        return self._doubtful

    @property
    def is_resumed(self) -> bool:
        """Whether its program has told of all that it waits for."""
        return self._resumed

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self.jobs

    @property
    def is_short(self) -> bool:
        """Whether it could use more workers than it has."""
        have = sum(window.width for window in self.windows.values())
        return bool(self.scheduler.ready) and have < self.useful

    def note_waiting(self, now: float) -> None:
        """Tell the program, once, if its jobs have waited for long because no node can run them."""
        if not self.scheduler.ready or any(window.width for window in self.windows.values()):
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = now
        elif now - self._waits_since > WAITING and not self._told_waiting:
            self._told_waiting = True
            wanted = ", ".join(f"{count} of {name!r}" for name, count in self.needs.items())
            what = f"a node that has {wanted}" if wanted else "a node"
            why = f"{len(self.jobs)} tasks wait for {what}; start one with `polyexec node`"
            event = wire.to_json({"what": "waiting", "why": why})
            self._send(self.client, wire.letter(wire.EVENT, 0, self.number, event))

    def place(
        self,
        widths: Mapping[int, int],
        units: Mapping[int, Mapping[str, list[int]]] = MappingProxyType({}),
    ) -> None:
        """Have so many workers on each node, and these units for them."""
        self._units = units
        for node, width in widths.items():
            window = self.windows.get(node)
            if window is None:
                self.windows[node] = self.scheduler.add_site(node, width)
                self._taught[node] = set()
                self._open(node, width)
            elif window.width != width:
                self._resize(window, width)
        for node, window in self.windows.items():
            if node not in widths and window.width:
                self._resize(window, 0)

    def _resize(self, window: SiteWindow, width: int) -> None:
        self.scheduler.resize_site(window, width)
        self._send_width(window.worker, width)

    def _open(self, node: int, width: int) -> None:
        units = self._units.get(node, {})
        spec = wire.to_json({**self.spec, "width": width, "units": units})
        self._send(node, self._letter(wire.OPEN, spec, self._birth))

    def _send_width(self, node: int, width: int) -> None:
        units = wire.to_json(self._units.get(node, {}))
        self._send(node, self._letter(wire.RESIZE, wire.COUNT.pack(width), units))

    def resume(self, node: int, held: Iterable[int], answered: Iterable[Answered]) -> None:
        """Take up again with a node that had been out of reach, and has these jobs."""
        window = self.windows[node]
        self._taught[node] = set()
        held = set(held)
        known = {job.owner for job in window.entries}
        missing = known - held - {number for _, numbers in answered for number in numbers}
        self._recalled.discard(node)
        self._requeue(window, list(missing))
        self._take_over(window, held - known)
        # What it may not have heard.
        self._open(node, window.width)
        self._send_width(node, window.width)
        self._ask_again(node, known)

    def _see_to_asked(self, numbers: Iterable[int]) -> None:
        """See to what is asked of jobs of which it is known again where they are."""
        for kind, ask in ((wire.WITHDRAW, self.withdraw), (wire.KILL, self.kill)):
            asked = [number for number in numbers if self._asked.get(number) == kind]
            if asked:
                ask(asked)

    def _ask_again(self, node: int, numbers: Iterable[int]) -> None:
        """Tell a node that has come back what it may not have heard, and the program of it."""
        self._see_to_asked(numbers)
        if self.closing is not None:
            self._send(node, self._letter(wire.CLOSE, wire.COUNT.pack(self.closing)))
        self._send(self.client, wire.letter(wire.RESEND, node, self.number))

    def claim(
        self, node: int, width: int, held: Iterable[int], answered: Collection[Answered]
    ) -> None:
        """Take note that a node has workers and jobs of it from before this head began."""
        self._past.claimed(node, answered)
        for _, numbers in answered:
            for number in numbers:
                self._doubtful.pop(number, None)
        self._send(node, self._letter(wire.RESEND))
        self.windows[node] = self.scheduler.add_site(node, width)
        self._taught[node] = set()
        self._take_over(self.windows[node], held)
        self._ask_again(node, held)

    def _take_over(self, window: SiteWindow, numbers: Iterable[int]) -> None:
        """Take note that a node has jobs that this head has not sent it."""
        unwanted: list[int] = []
        for number in numbers:
            job = self._doubtful.pop(number, None)
            if job is not None:
                self.jobs[number] = job
                self.scheduler.adopt(window, job)
            elif number not in self.jobs:
                if self._resumed:
                    unwanted.append(number)
                else:
                    self._claims[number] = window.worker
            elif self.scheduler.withdraw(self.jobs[number]):
                self.scheduler.adopt(window, self.jobs[number])
            else:
                unwanted.append(number)
        if unwanted:
            self._send(window.worker, self._letter(wire.KILL, wire.pack_numbers(unwanted)))

    def vouch(self, numbers: Sequence[int]) -> None:
        """Take note that these have not begun: where they were sent, they are not."""
        for number in numbers:
            job = self._doubtful.pop(number, None)
            if job is not None:
                self.jobs[number] = job
                self.scheduler.submit(job)
        self._see_to_asked(numbers)

    def resumed(self) -> None:
        """Take note that the program has told all; what else nodes have is not wanted any more."""
        self._resumed = True
        claims, self._claims = self._claims, {}
        nodes: dict[int, list[int]] = {}
        for number, node in claims.items():
            nodes.setdefault(node, []).append(number)
        for node, numbers in nodes.items():
            self._send(node, self._letter(wire.KILL, wire.pack_numbers(numbers)))

    def lose(self, node: int, how: dict[str, Any]) -> None:
        """Forget a node that is lost, and tell the program so; what it had may have begun."""
        numbers = self._remove(node)
        if numbers is None:
            return
        self._forget_asked(numbers)
        self.lost += len(numbers)
        self._note_lost(node, numbers, how)

    def _note_lost(self, node: int, numbers: list[int], how: dict[str, Any]) -> None:
        """Remember, and tell the program, that jobs are lost, with what their node had answered."""
        numbers = self._past.lost(node, numbers, how)
        for number in numbers:
            self._before.pop(number, None)
        if self._journal is not None:
            self._journal.lost(self.client, numbers)
        self._tell_lost(numbers, how, node)

    def _remove(self, node: int) -> list[int] | None:
        """Forget a node's workers; return the jobs that it had, None if it had no workers."""
        window = self.windows.pop(node, None)
        if window is None:
            return None
        del self._taught[node]
        self._recalled.discard(node)
        self._claims = {job: at for job, at in self._claims.items() if at != node}
        numbers = [job.owner for job in self.scheduler.lost_site(window)]
        for number in numbers:
            del self.jobs[number]
        return numbers

    def ended_at(self, node: int) -> None:
        """Take note that a node has ended workers that nobody here expects anything of."""
        if node in self.ending:
            self.ending.discard(node)
            # Should it have others, they count their letters from 1.
            self._tell_lost([], {"node": "", "host": None, "why": "its workers were ended"}, node)

    def bar(self, node: int, how: dict[str, Any]) -> None:
        """Do without a node that can have no more workers; what it had is lost."""
        self.barred.add(node)
        self.lose(node, how)
        self._send(node, self._letter(wire.CLOSE, wire.KILLED))

    def _tell_lost(self, numbers: list[int], how: dict[str, Any], node: int) -> None:
        frames = wire.to_json(how), wire.pack_numbers(numbers)
        self._send(self.client, wire.letter(wire.LOST, node, self.number, *frames))

    def rejoined(self) -> None:
        """Make ready for a program that will tell again what it has not heard of."""
        self._resumed = False
        self._past.begin_telling()
        for node in self.windows:
            self._send(node, self._letter(wire.RESEND))

    def acknowledged(self, node: int, frames: list[Any]) -> None:
        """Take note that a node's letters up to one have arrived."""
        self._past.acknowledged(node, wire.NUMBER.unpack(frames[1])[0])
        self._send(node, self._letter(wire.ACK, frames[1]))

    # -- what the program tells --------------------------------------------------------------------

    def take(self, kind: int, frames: list[Any]) -> None:
        """Take a letter that has no answer."""
        if kind == wire.FUNCTION:
            self.learn(frames)
        elif kind == wire.WITHDRAW:
            self.withdraw(wire.unpack_numbers(frames[1]))
        elif kind == wire.KILL:
            self.kill(wire.unpack_numbers(frames[1]))
        elif kind == wire.UNSHARE:
            self.unshare(frames[1])
        elif kind == wire.RESUMED:
            self.resumed()
        else:
            raise ValueError(f"a program has no letters of kind {kind}")

    def learn(self, frames: list[Any]) -> None:
        """Take a function."""
        (kind,) = wire.COUNT.unpack(frames[1])
        self._functions[kind] = frames[2]

    def accept(self, frames: list[Any]) -> None:
        """Take jobs; those that it has already are told again."""
        entries, bodies = frames[1], frames[2]
        at = place = 0
        size, jobs, submit = wire.JOB.size, self.jobs, self.scheduler.submit
        stopped: list[int] = []
        for number, kind, length, priority, flags, timeout in wire.JOB.iter_unpack(entries):
            body = bodies[at : at + length]
            if len(body) != length:
                raise ValueError("jobs that are cut short")
            if kind > 0 and kind not in self._functions and not flags & wire.OWN_FUNCTION:
                raise ValueError("a job whose function is not known")
            entry = entries[place : place + size]
            at += length
            place += size
            if number in jobs or self._is_over(number):
                continue
            job = Job(kind, (entry, body), number)
            job.priority = priority
            if timeout:
                job.timeout = timeout
            if number in self._claims:
                jobs[number] = job
                self.scheduler.adopt(self.windows[self._claims.pop(number)], job)
            elif flags & wire.BEGUN or number in self._before:
                self._doubtful[number] = job
            elif self.closing:
                stopped.append(number)
            else:
                jobs[number] = job
                submit(job)
        if stopped:
            self._stopped(stopped)

    def _is_over(self, number: int) -> bool:
        """Return whether a job has ended, of which the program will hear, or hears now."""
        how = self._past.loss(number)
        if how is not None:
            self._tell_lost([number], how, 0)  # the node may have come back, and have others
        return how is not None or self._past.is_settled(number)

    def withdraw(self, numbers: Iterable[int]) -> None:
        """Take back those that no node has; ask the nodes for the others."""
        taken, unknown = self._take_back(wire.WITHDRAW, numbers)
        if taken or unknown:
            letter = self._letter(wire.WITHDRAWN, *map(wire.pack_numbers, (taken, unknown)))
            self._send(self.client, letter)

    def kill(self, numbers: Iterable[int]) -> None:
        """Stop what runs, and drop what waits."""
        taken, unknown = self._take_back(wire.KILL, numbers)
        if taken or unknown:
            self._stopped([*taken, *unknown])

    def _take_back(self, kind: int, numbers: Iterable[int]) -> tuple[list[int], list[int]]:
        """Return those that waited here, and those of which nothing is known; ask for the others.

        *kind* is what the nodes are asked.
        """
        taken: list[int] = []
        unknown: list[int] = []
        nodes: dict[int, list[int]] = {}
        for number in numbers:
            job = self.jobs.get(number)
            if number in self._doubtful:
                self._asked[number] = kind  # of the node, if that comes back
            elif job is None:
                unknown.append(number)
            elif self.scheduler.withdraw(job):
                del self.jobs[number]
                taken.append(number)
            else:
                self._asked[number] = kind
                nodes.setdefault(job.place.worker, []).append(number)
        for node, asked in nodes.items():
            self._send(node, self._letter(kind, wire.pack_numbers(asked)))
        return taken, unknown

    def _stopped(self, numbers: list[int]) -> None:
        """Answer for jobs that no node has."""
        entries = [wire.ANSWER.pack(number, wire.STOPPED, 0, 0, 0) for number in numbers]
        answers = wire.NUMBER.pack(0) + b"".join(entries)
        self._send(self.client, wire.letter(wire.ANSWERS, 0, self.number, answers, b""))

    def unshare(self, frame: Any) -> None:
        """Tell the nodes of shared objects that are no more."""
        for node in self.windows:
            self._send(node, self._letter(wire.UNSHARE, frame))

    def close(self, signum: int) -> bool:
        """End the workers; return whether there are none."""
        self.closing = signum
        if signum:
            waiting = [job.owner for job in self.scheduler.drain()]
            for number in waiting:
                del self.jobs[number]
            self._stopped(waiting)
        for node in self.windows:
            self._send(node, self._letter(wire.CLOSE, wire.COUNT.pack(signum)))
        return not self.windows

    def closed(self, node: int) -> bool:
        """Take note that the workers on *node* have ended; return whether all have."""
        self._remove(node)
        return self.closing is not None and not self.windows

    # -- what nodes tell ---------------------------------------------------------------------------

    def answered(self, node: int, frames: list[Any]) -> list[Any]:
        """Take note of answers; return the letter for the program."""
        window = self.windows.get(node)
        jobs = self.jobs
        outcomes: list[tuple[Job, float]] = []
        entries = memoryview(frames[1])[wire.NUMBER.size :]
        numbers: list[int] = []
        for number, _, micros, _, _ in wire.ANSWER.iter_unpack(entries):
            numbers.append(number)
            job = jobs.get(number)
            if job is None:
                continue  # it was given up
            if window is None or job.place is not window:
                continue
            del jobs[number]
            outcomes.append((job, micros * 1e-6))
        self._forget_asked(numbers)
        if self._before:
            for number in numbers:
                self._before.pop(number, None)
        if window is not None:
            self.scheduler.ended(window, outcomes, time.monotonic())
            self.done += len(outcomes)
            (letter,) = wire.NUMBER.unpack_from(frames[1])
            self._past.answered(node, letter, numbers, telling=not self._resumed)
        return wire.letter(wire.ANSWERS, node, self.number, frames[1], frames[2])

    def returned(self, node: int, numbers: Iterable[int]) -> None:
        """Take note that a node has given back what it was asked for, as far as it could."""
        self._recalled.discard(node)
        window = self.windows.get(node)
        if window is not None:
            known = (self.jobs[number] for number in numbers if number in self.jobs)
            here = [job for job in known if job.place is window]
            self._requeue(window, [job.owner for job in here])

    def _requeue(self, window: SiteWindow, numbers: list[int]) -> None:
        """Have jobs run elsewhere that a node has not begun."""
        for number in numbers:
            self._before.pop(number, None)
        outcomes = [(self.jobs[number], None) for number in numbers]
        self.scheduler.ended(window, outcomes, time.monotonic())
        if self._journal is not None:
            self._journal.given_back(self.client, numbers)

    def _forget_asked(self, numbers: Iterable[int]) -> None:
        if self._asked:
            for number in numbers:
                self._asked.pop(number, None)

    def withdrawn(self, taken: tuple[int, ...], kept: tuple[int, ...]) -> None:
        """Take note that a node has given back jobs for good, and *kept* others."""
        now = time.monotonic()
        self._forget_asked((*taken, *kept))
        if not self._resumed:
            self._past.settle(taken)  # it tells of them again, and is about to hear this
        if self._journal is not None:
            self._journal.given_back(self.client, list(taken))
        for number in taken:
            self._before.pop(number, None)
            job = self.jobs.pop(number, None)
            if job is not None and job.place is not None:
                self.scheduler.ended(job.place, [(job, None)], now)
                self.scheduler.withdraw(job)

    # -- placing jobs ------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Send jobs to nodes that may have more."""
        if self._doubtful:
            doubtful, self._doubtful = list(self._doubtful), {}
            self._forget_asked(doubtful)
            why = "the head was restarted, and no node has it any more"
            self._note_lost(NOBODY, list(doubtful), {"node": "", "host": None, "why": why})
        assign = self.scheduler.assign
        while (found := assign()) is not None:
            window, jobs = found
            node = window.worker
            if len(window.entries) == len(jobs):  # it had nothing
                window.progressed_at = time.monotonic()
            taught = self._taught[node]
            entries: list[Any] = []
            bodies: list[Any] = []
            for job in jobs:
                if job.kind in self._functions and job.kind not in taught:
                    taught.add(job.kind)
                    number = wire.COUNT.pack(job.kind)
                    self._send(node, self._letter(wire.FUNCTION, number, self._functions[job.kind]))
                entry, body = job.payload
                entries.append(entry)
                bodies.append(body)
            if self._journal is not None:
                self._journal.sent(self.client, node, [job.owner for job in jobs])
            self._send(node, self._letter(wire.JOBS, b"".join(entries), b"".join(bodies)))
        self.scheduler.requeued()

    def recall(self, now: float) -> bool:
        """Have jobs that wait at one node while another has nothing to do given back.

        Return whether that may be needed soon.
        """
        if self.scheduler.ready or len(self.windows) < 2:  # noqa: PLR2004 - one can't help another
            return False
        free = any(len(w.entries) < w.width for w in self.windows.values())
        crowded = [w for w in self.windows.values() if len(w.entries) > w.width]
        for window in crowded:
            node = window.worker
            if free and node not in self._recalled and now - window.progressed_at > PATIENCE:
                # All of it: others take shares of that, and this one is given no more meanwhile.
                self.scheduler.hold_back(window)
                self.ask_back(node, len(window.entries) - window.width)
        return bool(crowded)

    def ask_back(self, node: int, count: int) -> None:
        """Have a node give back some of what it has not begun."""
        self._recalled.add(node)
        self._send(node, self._letter(wire.RECALL, wire.COUNT.pack(count)))

    def _letter(self, kind: int, *frames: Any) -> list[Any]:
        return wire.letter(kind, self.client, self.number, *frames)

    def describe(self) -> dict[str, Any]:
        """Return what `polyexec status` tells of it."""
        return {
            "client": self.client,
            "executor": self.number,
            "workers": sum(window.width for window in self.windows.values()),
            "queued": len(self.scheduler.ready),
            "running": sum(len(window.entries) for window in self.windows.values()),
            "done": self.done,
            "lost": self.lost,
        }

    def held(self) -> Iterator[tuple[int, int, list[int]]]:
        """Yield the program, each node, and the numbers of the jobs that it has."""
        for node, window in self.windows.items():
            yield self.client, node, [job.owner for job in window.entries]

    def had(self) -> Iterator[tuple[int, int, list[int]]]:
        """Yield the same of those that have ended, and its program may not have heard so."""
        for node, numbers in self._past.held():
            yield self.client, node, numbers
