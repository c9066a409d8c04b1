"""Runs a program whose standard error is a terminal, and returns what it wrote there."""

from __future__ import annotations

import os
import pty
import subprocess
import sys


def terminal_output(code: str, switch: str | None) -> str:
    """Return what the program *code* wrote to its terminal, with the switch set or not."""
    environment = {name: value for name, value in os.environ.items() if "PROGRESS" not in name}
    if switch is not None:
        environment["POLYEXEC_PROGRESS"] = switch
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment | {"TERM": "xterm", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as program:
        os.close(theirs)
        written = _read_all(ours)
    assert program.returncode == 0, written
    return written


def _read_all(descriptor: int) -> str:
    chunks = []
    with os.fdopen(descriptor, "rb", buffering=0) as terminal:
        try:
            while chunk := terminal.read(4096):
                chunks.append(chunk)
        except OSError:  # how Linux says that nobody has the other end any more
            pass
    return b"".join(chunks).decode()
