"""The loop of `polyexec map`: from the supply through the window to the output.

One queue carries all that can happen (lines read, a chunk done, Ctrl-C), and one thread, the
caller's, reacts:

    stdin reader ──lines──┐
    executor ─────done────┼──> events ──> fill the window, write what is ready, wait
    SIGINT ────interrupt──┘
"""

from __future__ import annotations

from concurrent.futures import Future
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

import click

from polyexec.cli._ending import watch_reader
from polyexec.cli._input import EndOfInput, Lines
from polyexec.cli._messages import describe

if TYPE_CHECKING:
    import queue
    from collections.abc import Callable

    from polyexec import Executor
    from polyexec.cli._chunk import ChunkOutcome, Job, Outcome
    from polyexec.cli._input import Supply
    from polyexec.cli._output import Output
    from polyexec.cli._progress import Update
    from polyexec.cli._sizing import ChunkSizer
    from polyexec.cli._window import Ticket, Window


class Done(NamedTuple):
    """The task of a ticket has ended."""

    ticket: Ticket
    future: Future[ChunkOutcome]


class Prepared(NamedTuple):
    """A worker has the function, or could not get it."""

    future: Future[ChunkOutcome]


class ReaderGone(NamedTuple):
    """Nobody reads the results any more."""


class Interrupt(NamedTuple):
    """Ctrl-C was pressed."""


Event = Lines | EndOfInput | Prepared | Done | ReaderGone | Interrupt


class Pump:
    """Keeps an executor busy with chunks of the supply, and the output fed with what they give."""

    def __init__(
        self,
        submit: Callable[[list[str]], Future[ChunkOutcome]],
        job: Job,
        *,
        events: queue.SimpleQueue[Event],
        supply: Supply,
        sizer: ChunkSizer,
        window: Window,
        output: Output,
    ) -> None:
        self._submit = submit
        self._job = job
        self._events = events
        self._supply = supply
        self._sizer = sizer
        self._window = window
        self._output = output
        self._interrupted = False
        self._problem: str | None = None

    def prepare(self, executor: Executor) -> None:
        """Have workers started, and the function sent to one, with a chunk without items.

        Workers that are forked should be so before there are threads that read or draw. And a
        function that does not travel is one error then, instead of one for each item.
        """
        future = executor.submit(self._job.run, [])
        future.add_done_callback(lambda done: self._events.put(Prepared(done)))

    def interrupt(self) -> None:
        """Make `run` write what is done and raise `KeyboardInterrupt`; from any thread."""
        self._interrupted = True
        self._events.put(Interrupt())

    def run(self, update: Update) -> None:
        """Work until the supply ends, and raise `click.ClickException` if that was too early."""
        watch_reader(self._output.stream, lambda: self._events.put(ReaderGone()))
        self._supply.start()
        while not self._interrupted:
            self._write(update)
            self._fill()  # after writing has made room: what is held back brings no event
            if self._supply.is_exhausted and self._window.is_empty:
                break
            self._wait()
        self._collect_finished()
        self._write(update)
        self._output.flush()
        if self._interrupted:
            raise KeyboardInterrupt
        if self._problem:
            raise click.ClickException(self._problem)

    def _fill(self) -> None:
        while ticket := self._next_ticket():
            self._start(ticket)

    def _next_ticket(self) -> Ticket | None:
        size = self._sizer.size
        if ticket := self._window.resume(size):
            return ticket
        items = self._supply.take(size) if self._window.has_room else []
        return self._window.admit(items) if items else None

    def _start(self, ticket: Ticket) -> None:
        try:
            future = self._submit(ticket.items)
        except Exception as error:  # noqa: BLE001 - the border to a backend, maybe a stranger's
            self._give_up(f"no task could be submitted: {describe(error)}")
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda done: self._events.put(Done(ticket, done)))

    def _write(self, update: Update) -> None:
        for items, outcomes in self._window.finished():
            self._output.write(items, outcomes)
        update(self._output.items, self._supply.total)

    def _wait(self) -> None:
        if self._events.empty():
            self._output.flush()
        event = self._events.get()
        if isinstance(event, Lines):
            self._supply.receive(event.lines)
        elif isinstance(event, EndOfInput):
            self._supply.end()
            if event.error:
                self._give_up(f"standard input could not be read: {event.error.strerror}")
        elif isinstance(event, Prepared):
            if error := event.future.exception():
                self._give_up(f"workers cannot get the function: {describe(error)}")
        elif isinstance(event, Done):
            self._collect(event)
        elif isinstance(event, ReaderGone):
            raise BrokenPipeError

    def _collect_finished(self) -> None:
        """Collect what has been done so far, without waiting."""
        while not self._events.empty():
            event = self._events.get()
            if isinstance(event, Done):
                self._collect(event)

    def _collect(self, done: Done) -> None:
        items = done.ticket.items
        try:
            outcomes, seconds = done.future.result()
        except BaseException as error:  # noqa: BLE001 - the border to a user's task, and its loss
            outcomes = [self._job.failure(item, error) for item in items]
            if self._interrupted:
                outcomes = []  # lost to the Ctrl-C that workers get as well
            elif len(items) > 1:
                self._sizer.lost()
        else:
            self._sizer.measured(len(outcomes), seconds, cut=len(outcomes) < len(items))
            if self._interrupted:
                outcomes = list(takewhile(_was_not_interrupted, outcomes))
        self._window.finish(done.ticket, outcomes)

    def _give_up(self, problem: str) -> None:
        self._problem = problem
        self._supply.abandon()


def _was_not_interrupted(outcome: Outcome) -> bool:
    return outcome.error != KeyboardInterrupt.__name__
