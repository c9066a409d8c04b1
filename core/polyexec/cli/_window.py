"""The bounded window between input and output: a state machine without I/O, clock or thread.

A ticket is a chunk on its way. Tickets are admitted, started, finished and handed out, in order or
as they finish. Ahead of a slow first ticket the others go on, until what is held back behind it
reaches a limit:

    handed out <- [ first, slow | finished, finished, … held | running … | waiting ] <- admitted

A ticket that comes back with only its first items done is split: the rest waits, in its place in
the order, to be started again ahead of new input.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polyexec.cli._chunk import Outcome

MOST_HELD_ITEMS = 10_000
MOST_HELD_CHARACTERS = 4 * 2**20


@dataclass(eq=False)
class Ticket:
    """The items of one chunk and, once it has finished, their outcomes."""

    items: list[str]
    outcomes: list[Outcome] | None = None


class Window:
    """Holds the tickets between admission and output, and says when there is room for more."""

    def __init__(self, *, workers: int, ordered: bool = True) -> None:
        self._ordered = ordered
        self._most_running = max(4 * workers, 16)
        self._running = 0
        self._order: deque[Ticket] = deque()  # unordered: the finished ones only
        self._waiting: deque[Ticket] = deque()
        self._held_items = 0
        self._held_characters = 0

    @property
    def has_room(self) -> bool:
        """Whether a new ticket may be admitted."""
        return (
            self._running < self._most_running
            and self._held_items < MOST_HELD_ITEMS
            and self._held_characters < MOST_HELD_CHARACTERS
        )

    @property
    def is_empty(self) -> bool:
        """Whether every admitted item has been handed out."""
        return not (self._running or self._order or self._waiting)

    def admit(self, items: list[str]) -> Ticket:
        """Return a new, started ticket for *items*."""
        ticket = Ticket(items)
        if self._ordered:
            self._order.append(ticket)
        self._running += 1
        return ticket

    def resume(self, size: int) -> Ticket | None:
        """Return a waiting ticket of at most *size* items, now started, or None if none may start.

        However much is held, for it may be this one that all others are held behind.
        """
        if not self._waiting or self._running >= self._most_running:
            return None
        ticket = self._waiting.popleft()
        if len(ticket.items) > size:
            self._split(ticket, size)
        self._running += 1
        return ticket

    def finish(self, ticket: Ticket, outcomes: list[Outcome]) -> None:
        """Take in the *outcomes* of a ticket's first items; its others wait to be resumed."""
        self._running -= 1
        if len(outcomes) < len(ticket.items):
            self._split(ticket, len(outcomes))
        ticket.outcomes = outcomes
        self._held_items += len(outcomes)
        self._held_characters += _characters(ticket.items, outcomes)
        if not self._ordered:
            self._order.append(ticket)

    def finished(self) -> Iterator[tuple[list[str], list[Outcome]]]:
        """Hand out items and outcomes of the tickets whose turn it is."""
        while self._order and (outcomes := self._order[0].outcomes) is not None:
            ticket = self._order.popleft()
            self._held_items -= len(outcomes)
            self._held_characters -= _characters(ticket.items, outcomes)
            yield ticket.items, outcomes

    def _split(self, ticket: Ticket, size: int) -> None:
        """Cut *ticket* down to *size* items; the rest waits, next in order and to be started."""
        rest = Ticket(ticket.items[size:])
        ticket.items = ticket.items[:size]
        if self._ordered:
            self._order.insert(self._order.index(ticket) + 1, rest)
        self._waiting.appendleft(rest)


def _characters(items: list[str], outcomes: list[Outcome]) -> int:
    results = sum(len(outcome.line or "") + len(outcome.traceback) for outcome in outcomes)
    return results + sum(map(len, items))
