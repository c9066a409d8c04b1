"""`multiprocessing.connection`; `Pipe` is the default context's."""

from __future__ import annotations

from multiprocessing.connection import Client, Connection, Listener, wait

from polyexec._default import late

__all__ = ["Client", "Connection", "Listener", "Pipe", "wait"]

Pipe = late("Pipe")
