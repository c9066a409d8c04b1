"""What a worker holds besides functions: large arguments and results, and shared objects."""

from __future__ import annotations

import io
import pickle

from polyexec.sharing import Shared
from polyexec_process._frames import KEPT, PARCEL, REFERS
from polyexec_process._parcels import (
    ONCE,
    PRIVATE,
    Inbox,
    fill,
    flat,
    hand_over,
    inline,
    room_for,
    table,
)
from polyexec_process._segments import Segment, Store

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable
    from typing import Any


class _Entry:
    """A shared object, unpickled at its first use: should that fail, a task fails by it."""

    def __init__(self, pieces: list[memoryview], error: OSError | None = None) -> None:
        self._pieces = pieces
        self._value: Any = None
        #: Why there are no pieces.
        self._error = error

    def value(self) -> Any:
        if self._error is not None:
            raise self._error.with_traceback(None)  # each task has its own
        if self._pieces:
            self._value = pickle.loads(self._pieces[0], buffers=self._pieces[1:])
            self._pieces = []
        return self._value


class HeldShared(Shared["Any"]):
    """A handle in a worker."""

    def __init__(self, entry: _Entry) -> None:
        self._entry = entry

    @property
    def value(self) -> Any:
        """The object, as this worker has it."""
        return self._entry.value()


class Holdings:
    """One worker's; the other end of the socket *rights* is its link's."""

    def __init__(self, rights: socket.socket) -> None:
        self._rights = rights
        self._inbox = Inbox(rights)
        self._store = Store()
        self._lent: dict[int, Segment] = {}
        self._entries: dict[int, _Entry] = {}
        self._open: memoryview | None = None
        _held.append(self)

    # -- arguments ---------------------------------------------------------------------------------

    def unpack(self, which: int, body: memoryview) -> Any:
        """Return the call that *body* holds, in the way that the flags in *which* say."""
        if which & PARCEL:
            self._inbox.free()
            self._open = body
            pieces = self._inbox.open(body)
        else:
            pieces = [body]
        if which & REFERS:
            unpickler = _Unpickler(self._entries, pieces)
            return unpickler.load()
        return pickle.loads(pieces[0], buffers=pieces[1:])

    def settle(self) -> int:
        """Return KEPT if something of what was last unpacked is in use still, else 0."""
        body, self._open = self._open, None
        return KEPT if body is not None and self._inbox.in_use(body) else 0

    def skip(self, which: int, body: memoryview) -> None:
        """Do without the call that *body* holds."""
        if which & PARCEL:
            self._inbox.skip(body)

    # -- results -----------------------------------------------------------------------------------

    def pack(self, data: bytes, buffers: Iterable[pickle.PickleBuffer]) -> bytes:
        """Return what is to go through the pipe for a pickle and its buffers."""
        pieces = flat(data, buffers)
        segment = self._store.take(room_for(pieces))
        if segment is None:
            return inline(pieces)
        fill(segment, pieces)
        try:
            number = hand_over(segment, self._rights)
        except OSError:
            self._store.give(segment)
            return inline(pieces)
        described = table(number, ONCE if segment.once else PRIVATE, pieces)
        if segment.once:
            self._store.give(segment)
        else:
            self._lent[number] = segment
        return described

    def take_back(self, tickets: Iterable[int]) -> None:
        """Use these segments again, for nobody reads them any more."""
        for number in tickets:
            self._store.give(self._lent.pop(number))

    def give_up(self, tickets: Iterable[int]) -> None:
        """Do without these segments, for somebody may read them for ever."""
        for number in tickets:
            self._store.drop(self._lent.pop(number))

    # -- shared objects ----------------------------------------------------------------------------

    def hold(self, number: int, described: memoryview) -> None:
        """Keep a shared object."""
        try:
            entry = _Entry(self._inbox.open(described))
        except OSError as error:  # no descriptor, or no room for one more mapping
            entry = _Entry([], error)
        self._entries[number] = entry

    def forget(self, numbers: Iterable[int]) -> None:
        """Drop shared objects."""
        for number in numbers:
            del self._entries[number]

    def entry(self, number: int) -> _Entry:
        """Return a shared object."""
        return self._entries[number]


class _Unpickler(pickle.Unpickler):
    def __init__(self, entries: dict[int, _Entry], pieces: list[memoryview]) -> None:
        super().__init__(io.BytesIO(pieces[0]), buffers=pieces[1:])
        self._entries = entries

    def persistent_load(self, number: Any) -> Any:
        """Return what a number stands for."""
        return self._entries[number].value()


_held: list[Holdings] = []


def held(number: int) -> HeldShared:
    """Return this worker's handle on a shared object; how handles are unpickled here."""
    return HeldShared(_held[-1].entry(number))


def reference(number: int) -> tuple[Callable[[int], HeldShared], tuple[int]]:
    """Return how a handle on the shared object of that number is pickled for a worker."""
    return (held, (number,))
