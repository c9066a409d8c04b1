"""What another engine may build its workers' side on: the local pool, and what goes into it.

It imports nothing of what turns tasks into jobs: `submitting` has that.
"""

from polyexec_process._births import Births, interpreter_command
from polyexec_process._client import Client, Engine, Lost, abandon_in_children
from polyexec_process._nursery import adopt_orphans, current_directory, watch_process
from polyexec_process._parcels import PRIVATE, READONLY, Blob, Parcel
from polyexec_process._pool import LocalPool
from polyexec_process._reactor import Host, Reactor
from polyexec_process._readbuffer import READ, ReadBuffer
from polyexec_process._segments import Store, most_shared

__all__ = [
    "PRIVATE",
    "READ",
    "READONLY",
    "Births",
    "Blob",
    "Client",
    "Engine",
    "Host",
    "LocalPool",
    "Lost",
    "Parcel",
    "Reactor",
    "ReadBuffer",
    "Store",
    "abandon_in_children",
    "adopt_orphans",
    "current_directory",
    "interpreter_command",
    "most_shared",
    "watch_process",
]
