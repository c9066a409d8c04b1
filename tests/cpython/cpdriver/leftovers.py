"""Ends whatever a test process started: its process group, and what left the group.

Each process started for a test carries a token in its environment, and so do its descendants, also
those in sessions of their own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

TOKEN = "CPSUITE_TOKEN"
GRACE = 2.0  # seconds that helpers have to go by themselves


def end_all(process: subprocess.Popen[bytes], token: str, *, grace: bool) -> list[str]:
    """End *process*, not reaped yet, and all that carries *token*; return what outlived *grace*."""
    leaked = _outlasting(token, process.pid) if grace else {}
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for pid in _carriers(token, process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    return list(leaked.values())


def _outlasting(token: str, leader: int) -> dict[int, str]:
    deadline = time.monotonic() + GRACE
    while (alive := _carriers(token, leader)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def _carriers(token: str, leader: int) -> dict[int, str]:
    """Return pid and command of the processes, other than *leader*, that carry *token*."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != leader:
            command = _command(folder, f"{TOKEN}={token}".encode())
            if command is not None:
                found[int(folder.name)] = command
    return found


def _command(folder: Path, needle: bytes) -> str | None:
    """Return the command of the process, or None if it is over or not one of ours."""
    with contextlib.suppress(OSError):
        if needle in (folder / "environ").read_bytes():
            state = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
            return None if state == "Z" else command.decode("utf-8", "replace").strip()
    return None
