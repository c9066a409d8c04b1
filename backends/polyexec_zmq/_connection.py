"""What a line needs of whatever carries its letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from polyexec import ClusterError
    from polyexec_zmq._channel import Channels


class Connection(Protocol):
    """Carries a line's letters, in one session after the other; on the line's thread.

    What has become of one that has ended is told by a ClusterError, if there is no use in another,
    or by words for it: those may be empty.
    """

    @property
    def once(self) -> bool:
        """Whether there will be no second session."""
        ...

    @property
    def greeting(self) -> float:
        """How many seconds a head may take to answer HELLO."""
        ...

    @property
    def channels(self) -> Channels | None:
        """The channels that `wait` sees to as well; None if there can be none."""
        ...

    @property
    def connected(self) -> bool:
        """Whether somebody is at the other end, as far as is known."""
        ...

    @property
    def readable(self) -> bool:
        """Whether `wait` has seen letters."""
        ...

    @property
    def troubled(self) -> bool:
        """Whether the connection may have ended."""
        ...

    def open(self) -> str | None:
        """Begin a session; return why that can't be at present, None if it has begun."""
        ...

    def close(self, linger: int) -> None:
        """End the session, if one is on; what was sent has *linger* milliseconds to leave."""

    def end(self) -> None:
        """Let go of all, for there will be no session any more."""

    def watch(self, fd: int) -> None:
        """Have `wait` end when there is something on *fd*."""

    def unwatch(self, fd: int) -> None:
        """Watch *fd* no more."""

    def wait(self, seconds: float, *, for_room: bool = False) -> AbstractSet[int]:
        """Wait for letters, for an end, or *for_room*; return the watched that are readable."""
        ...

    def send(self, letter: list[Any]) -> bool:
        """Send *letter*; return False if there is no room for it."""
        ...

    @property
    def sends(self) -> bool:
        """Whether some of what was sent has not left yet."""
        ...

    def receive(self) -> list[Any] | None:
        """Return the next letter, None if none has come."""
        ...

    def look(self) -> bool:
        """Return whether letters have come."""
        ...

    def failure(self) -> ClusterError | str | None:
        """Return what has become of the connection, None if it goes on."""
        ...


def milliseconds(seconds: float) -> int:
    """Return what a poller takes: 0 would have it not wait at all, over and over again."""
    return max(int(seconds * 1000), 1)
