"""The command line as its users start it: in a process of its own, in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import os, pathlib, signal, threading, time

VALUE = 3

def same(item):
    return item

def upper(item):
    return item.upper()

def nothing(item):
    return None

def number(item):
    return float(item)

def unspeakable(item):
    return {1, 2}

def newline(item):
    raise ValueError("first\\nsecond")

def leave(item):
    raise SystemExit(item)

def block(item):
    if item == "block":
        time.sleep(600)
    return item

def interrupt_this_thread(item):
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    time.sleep(600)

def interrupt_a_child(item):
    pid = os.fork()
    if not pid:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            os._exit(7)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def die(item):
    if item == "die":
        os._exit(3)
    return item

def second_time(item):
    seen = pathlib.Path(item)
    if not seen.exists():
        seen.touch()
        raise ValueError("not yet")
    return "done"

async def later(item):
    return item
"""


@dataclass
class CommandLine:
    """Starts `polyexec` in *folder*, where there is a module `tasks_here`."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "tasks_here.py").write_text(MODULE)

    @property
    def prefix(self) -> list[str]:
        """What stands before the arguments."""
        return [sys.executable, "-m", "polyexec"]

    def run(
        self, *arguments: str, stdin: bytes = b"", prefix: list[str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end."""
        return subprocess.run(
            [*(prefix or self.prefix), *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=100,
            cwd=self.folder,
            env=os.environ | self.environment,
        )

    def run_code(self, code: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run Python *code* that sees *arguments* as those of a command line."""
        return self.run(*arguments, prefix=[sys.executable, "-c", code])

    def shell(self, line: str) -> subprocess.CompletedProcess[bytes]:
        """Run a line of bash, in which `polyexec` is the command."""
        function = f'polyexec() {{ "{sys.executable}" -m polyexec "$@"; }}; '
        return self.run("-c", function + line, prefix=["bash"])

    def start(self, *arguments: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        """Start it with pipes for all of its streams."""
        return subprocess.Popen(
            [*self.prefix, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=self.folder,
            env=os.environ | self.environment,
            start_new_session=True,  # so that all of its processes can be signalled
        )

    def install(self, name: str, group: str, entries: dict[str, str], code: str = "") -> None:
        """Make a distribution *name* importable, with *entries* in an entry-point *group*."""
        info = self.folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{key} = {value}" for key, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
        (self.folder / f"{name}.py").write_text(code)
