"""What goes through the pipes between an executor and its worker, and the page that both see.

To the worker, one message a write: `MESSAGE`, then as *kind* says

    JOBS        count times `ENTRY` (length, the function's number), then as many pickled calls
    FUNCTION    `NUMBER` of the function, then the function, pickled
    CLEAR       nothing: forget all functions
    RETURN      tickets of segments that held results, and are free again
    GIVE_UP     tickets of those that must not be used again
    SHARE       `NUMBER` of a shared object, then its parcel
    UNSHARE     numbers of shared objects to forget
    END         nothing: there will be no more; what was forked just as a worker was born may hold
                its pipe open, so that it would not see the pipe's end
    PREPARE     the worker's `Birth`, pickled; the first message

From the worker `ANSWER` (length, status, microseconds), then that many bytes. A pipe's contents
outlive their writer, so what a worker answered counts, however it ended. Its first answer is READY
with its pid, or UNPREPARED with the exception of its initializer.

To write takes a quarter of the time that a tiny job takes there, so answers to a message's jobs
gather on the stage, memory that outlives the worker as well, and are written together: the last at
once, and all after `PROMPT` at the latest, unless a job takes longer. `STAGED_FROM` is the number
of bytes that were in the pipe before what is on the stage, `STAGED_TO` that with those. What lies
there may be taken from there, once the worker is dead, or is at a job for a while; the pipe brings
it again. The price: if a job closes the pipe, it may be a later one of its message that is taken
for the one that its worker died of.

The function's number in an `ENTRY` has flags: PARCEL for a call that is a parcel, REFERS for one
that refers to shared objects by persistent ids. A status has flags as well: PARCEL_RESULT for a
result that is a parcel, KEPT if the call's parcel is in use still.

What the worker's loggers log has a socket of its own, for any thread of the worker writes to that,
and any process that it forked. Each message is one record, whole or not there at all: `COUNT`, the
number of the worker's records up to this one, and the record, pickled; or a descriptor of memory
that holds it, where it is large. The worker stores the number in `RECORDS` as well, before it
answers; so it is known whether there are records before an answer. Others' have the number 0. With
the number TRACKER comes no record, but a socket: to that goes the pipe of the resource tracker.

The page holds a few machine words, each on a cache line of its own, written by one side only. A
worker stores the number of the job that it begins in `BEGUN`, and then looks at `LIMIT` and
`FLOOR`: it passes over what lies between. So it can be held back though it is stopped, or never
lets go of the interpreter. There is no fence between the two: the parent lowers the limit, lets a
moment pass, in which any processor makes its stores visible, and then reads `BEGUN`.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from typing import Final

MESSAGE: Final = struct.Struct("<QII")
ENTRY: Final = struct.Struct("<QI")
NUMBER: Final = struct.Struct("<I")
NUMBERS: Final = struct.Struct("<Q")
ANSWER: Final = struct.Struct("<QBI")
COUNT: Final = struct.Struct("<Q")

JOBS: Final = 0
FUNCTION: Final = 1
CLEAR: Final = 2
PREPARE: Final = 3
RETURN: Final = 4
SHARE: Final = 5
UNSHARE: Final = 6
END: Final = 7
GIVE_UP: Final = 8

NONE: Final = 0
VALUE: Final = 1
ERROR: Final = 2
PASSED_OVER: Final = 3
READY: Final = 4
UNPREPARED: Final = 5
UNREADABLE: Final = 6
#: A value that runs nobody's code as it is unpickled.
PLAIN_VALUE: Final = 7

#: Flags of a status.
PARCEL_RESULT: Final = 0x40
KEPT: Final = 0x80
FLAGS: Final = PARCEL_RESULT | KEPT

#: Flags of a function's number.
REFERS: Final = 1 << 30
PARCEL: Final = 1 << 31
SPECIAL: Final = REFERS
FUNCTION_MASK: Final = REFERS - 1

#: Places in the page, in words of eight bytes.
BEGUN, BEGUN_AT, LIMIT, FLOOR, RECORDS, STAGED_FROM, STAGED_TO = 0, 8, 16, 24, 32, 40, 48
PAGE_SIZE: Final = 4096
#: The stage lies behind the page; how many bytes it has.
STAGE_SIZE: Final = 4096
#: For how many nanoseconds answers may gather there, if the worker has others to write by then.
PROMPT: Final = 500_000
NOTHING_BEGUN: Final = 1 << 63

#: The largest record, in bytes, that goes through the socket itself.
LARGEST_RECORD: Final = 1 << 16

#: The number that no record has.
TRACKER: Final = (1 << 64) - 1

#: A call whose function travels with it.
OWN_FUNCTION: Final = 0
