"""Kills workers while tasks flow: `python tests/soak/run.py --help`.

Each context is soaked in a process of its own, whose descendants all carry one mark in their
environment: none may be left when it has ended.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

CONTEXTS = ("fork", "spawn", "forkserver", "zmq")
#: Seconds between two kills, on average: as many as a context starts workers in a quarter of it.
INTERVALS = {"fork": 0.1, "spawn": 0.5, "forkserver": 0.1, "zmq": 0.1}


#: Gives a program a /dev/shm of its own, where nobody else leaves anything meanwhile.
SECLUDED = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /dev/shm && exec "$@"', "sh"]


def secluded() -> list[str]:
    """Return what to put before a command, nothing where that is not permitted."""
    try:
        done = subprocess.run([*SECLUDED, "true"], capture_output=True, check=False)
    except OSError:  # there is no such program
        return []
    return SECLUDED if done.returncode == 0 else []


def parsed() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--context", action="append", choices=CONTEXTS, help="default: each")
    parser.add_argument("--minutes", type=float, default=10, help="how long at least, on each")
    parser.add_argument("--tasks", type=int, default=100_000, help="how many at least, on each")
    parser.add_argument("--interval", type=float, help="seconds between two kills, on average")
    return parser.parse_args()


def inside(asked: argparse.Namespace, mark: str) -> int:
    """Soak one context, in the process that was started for it."""
    from soak.soaking import Plan, soak

    (name,) = asked.context
    interval = asked.interval or INTERVALS[name]
    with tempfile.TemporaryDirectory() as folder:
        good = soak(Plan(name, asked.minutes * 60, asked.tasks, interval, mark), Path(folder))
    return 0 if good else 1


def soaked(name: str, asked: argparse.Namespace) -> bool:
    """Soak one context, and look for what is left of it."""
    from process.programs import MARK, marked

    mark = uuid.uuid4().hex
    command = [
        *secluded(),
        sys.executable,
        __file__,
        "--context",
        name,
        f"--minutes={asked.minutes}",
    ]
    command += [f"--tasks={asked.tasks}"]
    command += [] if asked.interval is None else [f"--interval={asked.interval}"]
    good = subprocess.run(command, check=False, env={**os.environ, MARK: mark}).returncode == 0
    deadline = time.monotonic() + 10
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)  # nothing tells of the end of somebody else's children
    if left:
        sys.stdout.write(f"  VIOLATION: {name} left the processes {left} behind\n")
    return good and not left


def main() -> int:
    """Soak one context after the other; return how it ended."""
    from process.programs import MARK

    asked, mark = parsed(), os.environ.get(MARK)
    if mark is not None:
        return inside(asked, mark)
    outcomes = [soaked(name, asked) for name in asked.context or CONTEXTS]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
