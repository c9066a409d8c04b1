"""What jobs need before they can begin on a node: large calls, and shared objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polyexec_process.engine import PRIVATE, READONLY, Blob, Parcel, Store, most_shared
from polyexec_zmq import _wire as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from polyexec_zmq._bulk import Incoming


class Gathering:
    """One executor's; the data comes from the program *owner*."""

    def __init__(self, incoming: Incoming, owner: int) -> None:
        self._incoming = incoming
        self._owner = owner
        self._functions: dict[int, bytes] = {}
        self._blobs: dict[int, Blob] = {}
        #: What waits for a shared object that is on its way.
        self._waiting: dict[int, list[Callable[[], None]]] = {}
        self._calls = Store()
        self._kept = Store(most_shared())

    def learn(self, kind: int, function: bytes) -> None:
        """Keep a function."""
        self._functions[kind] = function

    def forget(self, numbers: Iterable[int]) -> None:
        """Drop shared objects."""
        for number in numbers:
            self._blobs.pop(number, None)

    def close(self) -> None:
        """Let go of memory that is kept for more."""
        self._calls.close()
        self._kept.close()

    def gather(
        self, kind: int, flags: int, body: bytes, ready: Callable[[tuple[Any, ...]], None]
    ) -> None:
        """Call *ready* with a job's payload, at once or when all has come."""
        function = b""
        if flags & wire.OWN_FUNCTION:
            (length,) = wire.COUNT.unpack_from(body)
            end = wire.COUNT.size + length
            function, body = body[wire.COUNT.size : end], body[end:]
        elif kind > 0:
            function = self._functions[kind]
        if not flags & (wire.REFERS | wire.BULK_CALL):
            ready((function, body, None))
            return
        needs: list[int] | None = None
        if flags & wire.REFERS:
            needs, body = self._read_needs(body)
        self._await(function, needs, body, ready, bulk=bool(flags & wire.BULK_CALL))

    def _read_needs(self, body: bytes) -> tuple[list[int], bytes]:
        """Return the shared objects that a call refers to, which are on their way, and the call."""
        needs: list[int] = []
        (count,) = wire.COUNT.unpack_from(body)
        at = wire.COUNT.size
        for _ in range(count):
            number, length = wire.PART.unpack_from(body, at)
            at += wire.PART.size
            needs.append(number)
            self._need(number, body[at : at + length])
            at += length
        return needs, body[at:]

    def _await(
        self,
        function: bytes,
        needs: list[int] | None,
        call: bytes,
        ready: Callable[[tuple[Any, ...]], None],
        *,
        bulk: bool,
    ) -> None:
        missing = {number for number in needs or () if number not in self._blobs}
        left = len(missing) + bulk
        parcel: Parcel | None = None

        def arrived() -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                blobs = None if needs is None else [self._blobs[number] for number in needs]
                ready((function, call if parcel is None else parcel, blobs))

        for number in missing:
            self._waiting[number].append(arrived)
        if bulk:
            parcel = self._pull(call, self._calls, PRIVATE, lambda _: arrived())
        elif not left:
            arrived()

    def _need(self, number: int, table: bytes) -> None:
        """Have a shared object sent, unless it is here or on its way."""
        if number in self._blobs or number in self._waiting:
            return
        self._waiting[number] = []

        def complete(parcel: Parcel) -> None:
            self._blobs[number] = Blob(number, parcel)
            for call in self._waiting.pop(number):
                call()

        self._pull(table, self._kept, READONLY, complete)

    def _pull(
        self, table: bytes, store: Store, how: int, complete: Callable[[Parcel], None]
    ) -> Parcel:
        """Get large data into memory that workers can have as it is."""
        parcel = Parcel.empty(store, how)

        def done(pieces: list[memoryview]) -> None:
            parcel.hold(pieces)
            complete(parcel)

        # If the program is lost, so is this executor, with all that waits; and what is not there
        # any more is of jobs that have ended.
        self._incoming.pull(self._owner, table, parcel.room, done, lambda _: None)
        return parcel
