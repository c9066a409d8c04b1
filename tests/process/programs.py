"""Runs whole programs, and looks for what they leave behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from core.fakes import PATIENCE

#: The contexts whose workers are children of the program, for tests that look into their pools, or
#: need what the cluster has not.
LOCAL = ["fork", "spawn", "forkserver"]

#: Marks every process that descends from a program under test, whoever its parent is by now.
MARK = "POLYEXEC_TEST_MARK"


class Runner:
    """Runs programs that carry one mark."""

    def __init__(self, method: str, folder: Path) -> None:
        self.method = method
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.env = {**os.environ, MARK: self.mark}
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.env["TMPDIR"] = str(self.temporary)
        # What several processes print through one descriptor would come in pieces.
        self.env.pop("PYTHONUNBUFFERED", None)

    def write(self, source: str, name: str = "program.py") -> str:
        """Write a program for the context of this test to a file, and return its path."""
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(self.source(source), encoding="utf-8")
        return str(file)

    def source(self, source: str) -> str:
        """Return *source* for the context of this test."""
        return source.replace("METHOD", repr(self.method))

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run *command*; fail if it hangs."""
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=6 * PATIENCE,
            env=self.env,
            cwd=self.folder,
            **options,
        )

    def lines(self, source: str) -> list[str]:
        """Return what a program prints, which must run without a word of errors."""
        done = self.run(sys.executable, self.write(source))
        assert done.stderr == ""
        return done.stdout.splitlines()

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start *command*."""
        return subprocess.Popen(
            command, env=self.env, cwd=self.folder, text=True, stdout=subprocess.PIPE, **options
        )

    def survivors(self, but: int = 0) -> list[str]:
        """Return what runs of a program when all *but* so many should end, given some time."""
        deadline = time.monotonic() + PATIENCE
        while len(found := marked(self.mark)) > but and time.monotonic() < deadline:
            time.sleep(0.01)  # nothing tells of the end of somebody else's children
        return [f"{pid}: {_command(pid)}" for pid in found]

    def leftovers(self) -> list[str]:
        """Return what programs have left in the folder for temporary files."""
        return [file.name for file in self.temporary.glob("polyexec-*")]

    def kill(self) -> None:
        """Kill what runs still, so that it hurts no other test."""
        for pid in marked(self.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def marked(mark: str) -> list[int]:
    """Return the processes that descend from a program with that *mark*."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid in _pids() if wanted in _read(pid, "environ").split(b"\0")]


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - shorter


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended, or is somebody else's
        return b""


def _command(pid: int) -> str:
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
