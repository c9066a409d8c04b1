"""What another engine may build on: the local pool, and what goes into it and comes out."""

from polyexec_process._birth import Birth, current_directory
from polyexec_process._births import Births
from polyexec_process._client import Client, Engine, Lost
from polyexec_process._crew import Crew
from polyexec_process._executor import ProcessExecutor, birth
from polyexec_process._nursery import adopt_orphans, interpreter_command, watch_process
from polyexec_process._parcels import PRIVATE, READONLY, SHARED, Blob, Parcel
from polyexec_process._pool import LocalPool
from polyexec_process._segments import Store
from polyexec_process._settings import Settings

__all__ = [
    "PRIVATE",
    "READONLY",
    "SHARED",
    "Birth",
    "Births",
    "Blob",
    "Client",
    "Crew",
    "Engine",
    "LocalPool",
    "Lost",
    "Parcel",
    "ProcessExecutor",
    "Settings",
    "Store",
    "adopt_orphans",
    "birth",
    "current_directory",
    "interpreter_command",
    "watch_process",
]
