"""Workers' births and deaths: how many there are, and what becomes of what a dead one leaves."""

from __future__ import annotations

import itertools
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from polyexec_process._client import Lost
from polyexec_process._frames import MESSAGE, PREPARE
from polyexec_process._link import Link
from polyexec_process._reactor import READ

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread

    from polyexec.scheduling import Job
    from polyexec_process._births import Births
    from polyexec_process._pool import LocalPool

#: How many workers in a row may die before they were ready, where no other is.
MISCARRIAGES: Final = 3
#: How many seconds to go on with the workers that there are, where none could be started.
SCARCE: Final = 1.0
#: How many seconds workers for which there is no work yet are put off, for their births not to
#: hold up the first.
_LEISURE: Final = 0.02
#: How many seconds pass before it is tried again, at least.
_PAUSE: Final = 0.01
#: How many births may be under way, for which the nursery's socket has room by far: we don't wait
#: for that, with the pool's lock held, which takes whoever is to read of the births before.
UNDER_WAY: Final = 32


class Staff:
    """The workers of *pool*; all is called with its lock held, or by its reactor.

    *births* starts the nursery, while a given thread waits; *prepare* makes the first message for a
    worker of a given name.
    """

    def __init__(
        self,
        pool: LocalPool,
        births: Callable[[Thread | None], Births],
        prepare: Callable[[str], bytes],
        name: str,
        max_tasks: int | None,
    ) -> None:
        self._pool = pool
        self._make_births = births
        self._prepare = prepare
        self._name = name
        self._max_tasks = max_tasks
        self._numbers = itertools.count(1)
        #: The nursery, whether it has borne any, and whether there will be no other.
        self._births: Births | None = None
        self._has_borne = False
        self._is_closed = False
        #: The worker that is being asked for.
        self._coming: Link | None = None
        #: Before when it is no use to ask for another worker, while there are others.
        self._next_try = 0.0
        #: How many births the nursery has not told of, and how many more workers are to be started
        #: whether there is work or not, and when.
        self._under_way = 0
        self._wanted = 0
        self._others_at = 0.0
        #: How many workers in a row have died before they were ready.
        self.miscarriages: int = 0
        #: Whether there will be no more workers, of which the client may not have heard yet.
        self.failing: bool = False

    def close(self) -> None:
        """End the nursery, if there is one; there will be no other."""
        self._is_closed = True
        self._end_nursery()

    def _open_nursery(self) -> Births | None:
        """Return the nursery, started if it was not; None if there will be none."""
        if self._births is None and not self._is_closed:
            reactor = self._pool.reactor
            births = self._make_births(reactor.thread)
            try:
                reactor.watch(births.sock.fileno(), READ, partial(self._hear, births))
            except BaseException:
                births.close()
                raise
            self._births = births
        return self._births

    def _end_nursery(self) -> None:
        births, self._births = self._births, None
        if births is not None:
            self._pool.reactor.forget(births.sock.fileno())
            births.close()

    def abandon(self) -> None:
        """Close this forked child's copies of what is the parent's."""
        self._is_closed = True
        births, self._births = self._births, None
        if births is not None:
            births.sock.close()
        if self._coming is not None:
            self._coming.close()
            self._coming.release_page()

    # -- births ------------------------------------------------------------------------------------

    def bear_all(self, *, hurry: bool = True) -> None:
        """Start as many workers as there may be; some once others are born, if those are many.

        Without *hurry* the others come a moment after the first, for there is but one job yet.
        """
        pool = self._pool
        if hurry or pool.links:
            self._wanted = pool.most - len(pool.links)
            self.bear_wanted()
        elif self.bear():
            self._wanted = pool.most - 1
            self._others_at = time.monotonic() + _LEISURE

    def bear_wanted(self) -> None:
        """Start those that are put off."""
        self._others_at = 0.0
        try:
            while self._to_come > 0 and self.bear():
                pass
        except BaseException:
            self._wanted = 0
            raise

    def bear(self) -> bool:
        """Start a worker; return False if none can be had now.

        Raises OSError if there is no descriptor or no memory for it, and it would be the only one.
        """
        pool = self._pool
        if not self._may_bear or (pool.links and time.monotonic() < self._next_try):
            return False
        # First, for it makes itself ready while we open what the worker is to have.
        births = self._open_nursery()
        if births is None:  # there was one
            return False
        number = next(self._numbers)
        name = f"{self._name}-{number}"
        body = self._prepare(name)
        try:
            link = self._open_link(number, name)
        except OSError as error:
            return self._do_with_fewer(error)
        link.window = pool.scheduler.add_worker(number, self._max_tasks)
        self._coming = link
        try:
            births.bear((number, (*link.fds, pool.records.descriptor(number))))
        except BaseException as error:
            pool.scheduler.lost(link.window, None)
            link.close()
            pool.records.drain(number)
            pool.records.forget(number)
            if not isinstance(error, OSError):
                raise
            ended = isinstance(error, BrokenPipeError | ConnectionResetError)
            if ended or self._births is not births:
                return False  # the nursery has, which we shall hear of, or have
            return self._do_with_fewer(error)
        finally:
            self._coming = None
        self._under_way += 1
        self._has_borne = True
        self._wanted -= self._wanted > 0
        link.release_fds()
        pool.records.opened(number)
        pool.links[number] = link
        pool.idle += 1
        pool.reactor.watch(link.answers, READ, partial(pool.answered, link))
        pool.send(link, MESSAGE.pack(MESSAGE.size + len(body), PREPARE, 0) + body)
        return True

    def _signal(self, number: int, signum: signal.Signals) -> None:
        births = self._births  # the reactor may close it
        if births is not None:
            births.signal(number, signum)

    @property
    def _may_bear(self) -> bool:
        return not (self._pool.stopping or self.failing) and self._under_way < UNDER_WAY

    @property
    def _to_come(self) -> int:
        """How many workers are wanted whether there is work or not, and may be."""
        return min(self._wanted, self._pool.most - len(self._pool.links))

    @property
    def is_short(self) -> bool:
        """Whether there is work for another worker, or it is wanted all the same, and room."""
        pool = self._pool
        links = pool.links.values()
        if len(links) >= pool.most:
            return False
        if self._to_come > 0 and time.monotonic() >= self._others_at:
            return True
        # What those that are to end have is theirs.
        theirs = sum(link.window.held for link in links if link.leaving)
        return pool.outstanding - theirs > pool.working()

    @property
    def due(self) -> float | None:
        """How many seconds may pass until `replace` is called again, None for any."""
        if self._is_closed or not self._may_bear:
            return None
        now = time.monotonic()
        if self.is_short:
            return max(self._next_try - now, _PAUSE)
        return max(self._others_at - now, 0.0) if self._to_come > 0 else None

    def _open_link(self, number: int, name: str) -> Link:
        link = Link(number, name, self._pool.lock, self._signal)
        try:
            self._pool.records.open(number, link.words)
        except OSError:
            link.close()
            raise
        return link

    def _do_with_fewer(self, error: OSError) -> bool:
        """Go on with the workers that there are, or raise *error* if there are none."""
        if not self._pool.links:
            if not self._has_borne:
                self._end_nursery()  # it may have inherited what there was too much of
            raise error
        self._wanted = 0
        self._next_try = time.monotonic() + SCARCE
        return False

    # -- what the nursery tells ------------------------------------------------------------------

    def _hear(self, births: Births) -> None:
        if self._births is not births:
            return
        message = births.hear()
        if message is None:
            self._orphaned()
            return
        what, number, detail = message
        if what != "died":
            with self._pool.lock:
                self._under_way -= 1
        link = self._pool.links.get(number)
        if link is None:
            return
        if what == "born":
            self._born(link, detail)
        elif what == "died":
            self.bury(link, detail)
        else:
            self._not_born(link, detail)

    def _born(self, link: Link, pid: int) -> None:
        pool = self._pool
        with pool.lock:
            link.pid = pid
            pool.lock.notify_all()

    def _not_born(self, link: Link, why: str) -> None:
        """Do without a worker that the nursery could not start, unless it would be the only one."""
        others = len(self._pool.links) > 1
        self._wanted = 0
        self._next_try = time.monotonic() + SCARCE
        link.leaving = link.killed = others
        self.bury(link, None, None if others else f"none could be started: {why}")

    def _orphaned(self) -> None:
        """Go on without the nursery, which has died: its workers can't be replaced."""
        self.close()
        for link in list(self._pool.links.values()):
            link.signal(signal.SIGKILL)
            self.bury(link, None)
        if not self._pool.stopping:
            self._pool.client.barren("the process that starts them died")

    # -- deaths ------------------------------------------------------------------------------------

    def bury(self, link: Link, exitcode: int | None, failure: str | None = None) -> None:
        """See to what a dead worker leaves; *failure* is why there can be no others."""
        pool = self._pool
        pool.records.drain(link.number)
        pool.drain(link)
        lost = Lost(link.name, link.pid, exitcode, link.last_words())
        with pool.lock:
            begun = self._forget(link)
            failure = failure or self._count_miscarriage(link, lost)
            self.failing |= failure is not None
        expected = link.killed or (not begun and (link.leaving or pool.stopping))
        for job in begun:
            expected |= self._tell_end(link, job, lost)
        if not expected:
            running = begun[-1] if begun else None
            pool.records.after(link.number, partial(pool.client.worker_lost, lost, running))
        with pool.lock:
            for job in begun:
                pool.overseer.note_death(job)
            link.dead, link.exitcode = True, exitcode
            pool.lock.notify_all()
            failure = failure or self.replace()
            pool.dispatch()
            dropped = pool.drain_jobs() if pool.terminated is not None else []
        for job in dropped:
            pool.client.stopped(job)
        pool.records.forget(link.number)
        if failure is not None:
            pool.client.barren(failure)

    def _forget(self, link: Link) -> list[Job]:
        """Forget *link*, and return what it had begun."""
        pool = self._pool
        pool.reactor.forget(link.answers)
        if link in pool.writing:
            pool.writing.discard(link)
            pool.reactor.forget(link.jobs)
        del pool.links[link.number]
        pool.idle -= link.idle
        pool.most -= link.lingers
        begun = pool.scheduler.lost(link.window, link.begun)
        pool.note_ended(len(begun))
        pool.overseer.timed -= sum(job.timeout is not None for job in begun)
        link.close()
        return begun

    def _count_miscarriage(self, link: Link, lost: Lost) -> str | None:
        """Return why no more are worth trying, after too many that died as they started."""
        if link.ready or link.killed or link.unprepared or self._pool.stopping:
            return None
        self.miscarriages += 1
        if self.miscarriages < MISCARRIAGES:
            return None
        if any(other.ready and not other.leaving for other in self._pool.links.values()):
            self._next_try = time.monotonic() + SCARCE
            return None
        return f"{MISCARRIAGES} in a row died as they started, the last: {lost}"

    def replace(self) -> str | None:
        """Start workers in place of those that ended, if there is work.

        Return why there will be no more, if so.
        """
        try:
            while self.is_short and self.bear():
                if self.miscarriages >= MISCARRIAGES:  # one, to see whether it lives
                    self._next_try = time.monotonic() + SCARCE
        except OSError as error:
            self.failing = True
            return f"none could be started: {error}"
        except Exception as error:  # noqa: BLE001 - the user's initargs, which pickle no more
            self.failing = True
            return f"their initializer can't be sent: {error}"
        return None

    def _tell_end(self, link: Link, job: Job, lost: Lost) -> bool:
        """Tell how *job* ended with its worker; return whether that was our doing."""
        pool = self._pool
        out_of_time = pool.overseer.kills.get(job)
        ours = True
        if out_of_time:
            tell = partial(pool.client.timed_out, job)
        elif out_of_time is not None or pool.terminated is not None:
            tell = partial(pool.client.stopped, job)
        else:
            tell, ours = partial(pool.client.lost, job, lost), False
        pool.records.after(link.number, tell)
        return ours
