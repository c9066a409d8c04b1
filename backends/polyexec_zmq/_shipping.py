"""How a program's jobs go to the head: what stands for their calls, and what goes before them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from polyexec_process.engine import Parcel
from polyexec_zmq import _wire as wire

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterable, Mapping

    from polyexec.scheduling import Job
    from polyexec_process.engine import Blob
    from polyexec_zmq._bulk import Outgoing

#: After how many letters, or seconds, a node hears that they have come.
_ACKNOWLEDGE: Final = 16
_ACKNOWLEDGE_AFTER: Final = 0.2
#: How many bytes of functions are sent once, and kept; what is new beyond that goes with each job.
KEPT_FUNCTIONS: Final = 64 << 20


class Sent:
    """A job that the head has, as it was sent; *table* tells of its call, if that is large."""

    __slots__ = ("begun", "body", "flags", "job", "table")

    def __init__(self, job: Job, flags: int, body: bytes, table: bytes | None) -> None:
        self.job = job
        self.flags = flags
        self.body = body
        self.table = table
        self.begun = False


class Shipping:
    """One executor's; *outgoing* holds large data until nodes have got it.

    *obsolete* are numbers of shared objects that are no more; whichever thread dropped them has put
    them there.
    """

    def __init__(self, outgoing: Outgoing, obsolete: deque[int]) -> None:
        self._outgoing = outgoing
        self.obsolete: deque[int] = obsolete
        #: The functions that are kept, how many bytes they are, and those that the head knows.
        self._kept: set[int] = set()
        self._kept_bytes = 0
        self._taught: set[int] = set()
        self._tables: dict[int, bytes] = {}

    def begin_again(self) -> None:
        """Take note that a new head knows no function."""
        self._taught.clear()

    def pack(self, job: Job) -> Sent:
        """Return *job* as it is sent."""
        function, call, needs = job.payload
        flags = 0
        table: bytes | None = None
        if type(call) is Parcel:
            # A node that has got it may give the job back, and another then asks for it.
            call = table = self._outgoing.hold(call.pieces, call, lasting=True)
            flags = wire.BULK_CALL
        parts: list[bytes] = []
        if job.kind > 0 and job.kind not in self._kept and not self._keep(job.kind, function):
            flags |= wire.OWN_FUNCTION
            parts += [wire.COUNT.pack(len(function)), function]
        if needs is not None:
            flags |= wire.REFERS
            parts.append(wire.COUNT.pack(len(needs)))
            for blob in needs:
                entry = self._table(blob)
                parts += [wire.PART.pack(blob.number, len(entry)), entry]
        return Sent(job, flags, b"".join([*parts, call]) if parts else call, table)

    def ended(self, sent: Sent) -> None:
        """Let go of a job's call, for no node has a use for it any more."""
        if sent.table is not None:
            call = self._outgoing.end(sent.table)
            if call is not None:
                call.note_use(kept=False)  # its memory may serve another

    def _keep(self, kind: int, function: bytes) -> bool:
        """Return whether there is room for one more function to be kept."""
        if self._kept_bytes + len(function) > KEPT_FUNCTIONS:
            return False
        self._kept_bytes += len(function)
        self._kept.add(kind)
        return True

    def _table(self, blob: Blob) -> bytes:
        table = self._tables.get(blob.number)
        if table is None:
            # Each node asks for it, so it is kept until it is no more.
            table = self._outgoing.hold(blob.parcel.pieces, blob.parcel, lasting=True)
            self._tables[blob.number] = table
            blob.holders.add(self)
        return table

    def letters(self, executor: int, jobs: Mapping[int, Sent]) -> Iterable[list[Any]]:
        """Yield the letters that send *jobs*, by number, and the functions that are not known."""
        entries: list[bytes] = []
        for number, sent in jobs.items():
            job = sent.job
            if job.kind in self._kept and job.kind not in self._taught:
                self._taught.add(job.kind)
                kind = wire.COUNT.pack(job.kind)
                yield wire.letter(wire.FUNCTION, 0, executor, kind, job.payload[0])
            flags = sent.flags | (wire.BEGUN if sent.begun else 0)
            size, timeout = len(sent.body), job.timeout or 0.0
            entries.append(wire.JOB.pack(number, job.kind, size, job.priority, flags, timeout))
        bodies = b"".join([sent.body for sent in jobs.values()])
        yield wire.letter(wire.JOBS, 0, executor, b"".join(entries), bodies)

    def farewells(self, executor: int) -> Iterable[list[Any]]:
        """Yield the letter that tells of shared objects that are no more, if any are."""
        if self.obsolete:
            gone = [self.obsolete.popleft() for _ in range(len(self.obsolete))]
            for number in gone:
                self._outgoing.end(self._tables.pop(number))
            yield wire.letter(wire.UNSHARE, 0, executor, wire.pack_numbers(gone))


class Acknowledgements:
    """What has come from nodes, and they have not heard so.

    A node's letters are numbered from 1. One that comes while another before it is missing, which
    was on its way as our connection was cut, is not acknowledged: whoever hears of that forgets
    all before it, and were the node lost then, nobody would know that a part never came. With the
    missing one, all that follow come again.
    """

    def __init__(self) -> None:
        #: How many have come from each node that it has not heard of.
        self._due: dict[int, int] = {}
        #: Up to which number all of a node's have come.
        self._arrived: dict[int, int] = {}
        self._told_at = 0.0

    def note(self, node: int, letter: int) -> None:
        """Take note that a letter of that number has come."""
        arrived = self._arrived.get(node, 0)
        if letter > arrived + 1:
            return
        self._arrived[node] = max(letter, arrived)
        self._due[node] = self._due.get(node, 0) + 1

    def forget(self, node: int) -> None:
        """Expect nothing of *node* any more."""
        self._due.pop(node, None)
        self._arrived.pop(node, None)

    def flush(self, executor: int, send: Callable[[list[Any]], None]) -> float | None:
        """Tell nodes, now and then; return how many seconds may pass, None for any."""
        if not self._due:
            return None
        left = self._told_at + _ACKNOWLEDGE_AFTER - time.monotonic()
        for node, count in list(self._due.items()):
            if count >= _ACKNOWLEDGE or left <= 0:
                number = wire.NUMBER.pack(self._arrived[node])
                send(wire.letter(wire.ACK, node, executor, number))
                del self._due[node]
        if not self._due or left <= 0:
            self._told_at = time.monotonic()
            return None
        return left
