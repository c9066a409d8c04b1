"""What goes between a head and its members: nodes, and the programs that use them.

A letter is a ZeroMQ message. Its first frame is a `HEAD`: the kind, a member and a number. To the
head the member is who the letter is for, from it who it comes from; 0 is the head itself. The
number is an executor's for most kinds, of those that its program has. The other frames depend on
the kind; what is in them is read by fixed structures, or is JSON, and nothing of it is code. What
users pickled, the head passes on as it is.

To and from the head itself

    HELLO      JSON: who joins, with which versions, and what it has from before
    WELCOME    JSON: the head's incarnation, and how long to be patient
    REFUSED    JSON: why not
    UNKNOWN    nothing: say HELLO again, in a new session
    PING       nothing; from a member, the number is when, and comes back
    BYE        JSON: why it leaves
    ASK, TELL  JSON: a question, and what is answered; the number is the question's

For an executor; from its program to the head, which passes on to nodes what they need

    OPEN       JSON: what is wanted; then how workers are born, pickled
    RESIZE     `COUNT`: how many workers; then JSON: their counted resources; from the head
    CLOSE      `COUNT`: the signal to end the workers by, 0 for none
    CLOSED     nothing; from a node when its workers have ended, from the head when all have
    FUNCTION   `COUNT` and the function of that number, pickled
    JOBS       `JOB` times how many there are; then their calls, one behind the other
    RECALL     `COUNT`: how many jobs to give back that have not begun; from the head
    WITHDRAW   numbers of jobs that are not to begin
    KILL       numbers of jobs that are to be stopped
    UNSHARE    numbers of shared objects that are no more
    RESEND     nothing: send again what is not acknowledged; from the head to a node. To a program:
               the node has come back, and is to be asked again for large data
    RESUMED    nothing: all has been told again that a new head must know

For an executor; from a node to the program, if not said otherwise

    ANSWERS    `NUMBER` of the letter, `ANSWER` times how many there are; then their values
    ACK        `NUMBER` of the last such letter that came; from the program
    STARTED    the worker's name, nothing for a start that is taken back; then numbers of jobs
    WITHDRAWN  numbers of jobs that will not begin; then of those that may have
    RETURNED   numbers of jobs that have not begun, and are for others; to the head
    BARREN     JSON: why there can be no workers any more; to the head
    LOST       JSON: how; then numbers of jobs; from the head. Number 0: for all executors
    EVENT      JSON: what became of a worker, or that there can be none
    RECORD     `NUMBER`: how much was logged so far; then the record, pickled
    HEARD      `NUMBER` of the last record that was handled; from the program
    OUTPUT     JSON: who wrote it, and whether to stderr; then what was written

For a large piece of data, whose number it is; between its owner and who wants it

    PULL       `PART`: from where on, and how many bytes are wanted
    CHUNK      `PART`: where it belongs, and how long it is; then the bytes
    DROP       nothing: it is not wanted any more
    GONE       nothing: it is not there any more

For a channel between a node and a program; from the node, and back from the program

    CHANNEL    JSON: the sender's key for it; from the head also the number by which they meet
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What both ends of a connection must have in common.
PROTOCOL: Final = 1

HEAD: Final = struct.Struct("<BQQ")
COUNT: Final = struct.Struct("<I")
NUMBER: Final = struct.Struct("<Q")
PART: Final = struct.Struct("<QQ")
#: Number, function's number (negative: it comes with the call), length of the call, priority,
#: flags, timeout in seconds (0: none).
JOB: Final = struct.Struct("<QiIiHd")
#: Number, status, microseconds, the worker's number, length of the value.
ANSWER: Final = struct.Struct("<QBIII")

#: What a CLOSE says that is to take effect at once.
KILLED: Final = COUNT.pack(9)  # SIGKILL, which not every platform knows by name

HELLO: Final = 1
WELCOME: Final = 2
REFUSED: Final = 3
UNKNOWN: Final = 4
PING: Final = 5
BYE: Final = 6
ASK: Final = 7
TELL: Final = 8
OPEN: Final = 10
RESIZE: Final = 11
CLOSE: Final = 12
CLOSED: Final = 13
FUNCTION: Final = 14
JOBS: Final = 15
RECALL: Final = 16
WITHDRAW: Final = 17
KILL: Final = 18
UNSHARE: Final = 19
RESEND: Final = 20
RESUMED: Final = 21
ANSWERS: Final = 30
ACK: Final = 31
STARTED: Final = 32
WITHDRAWN: Final = 33
LOST: Final = 34
EVENT: Final = 35
RECORD: Final = 36
OUTPUT: Final = 37
HEARD: Final = 38
RETURNED: Final = 40
BARREN: Final = 41
PULL: Final = 50
CHUNK: Final = 51
DROP: Final = 52
CHANNEL: Final = 53
GONE: Final = 54

#: What the head passes on without a look at it.
RELAYED: Final = frozenset({STARTED, EVENT, RECORD, HEARD, OUTPUT, PULL, CHUNK, DROP, GONE})

#: Flags of a job: its call is a table of large data, it refers to shared objects, it has begun as
#: far as its program knows, its function comes before its call and is not to be kept.
BULK_CALL: Final = 1
REFERS: Final = 2
BEGUN: Final = 4
OWN_FUNCTION: Final = 8

#: Statuses besides those that workers give, and the flag of a value that is a table of large data.
STOPPED: Final = 16
TIMED_OUT: Final = 17
DIED: Final = 18
BULK_VALUE: Final = 0x40


def letter(kind: int, peer: int = 0, number: int = 0, *frames: Any) -> list[Any]:
    """Return a letter."""
    return [HEAD.pack(kind, peer, number), *frames]


def to_json(value: Any) -> bytes:
    """Return *value* as JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def from_json(frame: Any) -> Any:
    """Return what a frame of JSON holds; raises ValueError."""
    return json.loads(bytes(frame))


def pack_numbers(numbers: Iterable[int]) -> bytes:
    """Return *numbers* as a frame."""
    listed = list(numbers)
    return struct.pack(f"<{len(listed)}Q", *listed)


def unpack_numbers(frame: Any) -> tuple[int, ...]:
    """Return the numbers that a frame holds; raises struct.error."""
    return struct.unpack(f"<{len(frame) // NUMBER.size}Q", frame)
