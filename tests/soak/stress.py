"""Runs the conformance kit again and again on a busy machine: `python tests/soak/stress.py --help`.

What passes on an idle machine may depend on who comes first. A busy loop on each core changes
that with every repetition.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTEXTS = ("fork", "spawn", "forkserver", "zmq")
KIT = "polyexec.testing"
FAULTS = "polyexec.testing.test_faults"

#: Ends with its parent, however that ends.
BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass"
#: Have pytest name the slowest test, and show where threads are once one takes very long.
SLOW = ["-q", "--durations=1", "-o", "faulthandler_timeout=40"]
STUCK = "Timeout (0:00:40)!"
#: Seconds for one run of the kit, on a machine that is busy with something else.
LIMIT = 1800


@contextlib.contextmanager
def load(cores: int) -> Iterator[None]:
    """Keep so many *cores* busy."""
    command = [sys.executable, "-c", BUSY, str(os.getpid())]
    loops = [subprocess.Popen(command) for _ in range(cores)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def passes(what: str, context: str, options: list[str]) -> bool:
    """Run the tests *what* once on *context*; show what they print only if they fail."""
    command = [sys.executable, "-m", "pytest", what, "--backend", context, *SLOW, *options]
    begin = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
        passed, output = done.returncode == 0, done.stdout + done.stderr
    except subprocess.TimeoutExpired as error:
        passed, output = False, f"no end after {LIMIT} seconds\n{error.stdout!r}\n"
    verdict = "passed" if passed else "FAILED"
    sys.stdout.write(f"{context}: {what} {verdict} in {time.monotonic() - begin:.0f} s")
    sys.stdout.write(f" (slowest: {slowest(output)})\n")
    if not passed or STUCK in output:
        sys.stdout.write(output)
    sys.stdout.flush()
    return passed


def slowest(output: str) -> str:
    """Return the test that took longest, by what pytest printed."""
    lines = output.partition("slowest 1 durations")[2].splitlines()
    return lines[1].strip() if len(lines) > 1 else "unknown"


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--context", action="append", choices=CONTEXTS, help="default: each")
    parser.add_argument("--kit", type=int, default=5, metavar="N", help="runs of the whole kit")
    parser.add_argument("--faults", type=int, default=50, metavar="N", help="of its fault tests")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="how many to keep busy")
    parser.add_argument("options", nargs="*", help="of pytest, after --")
    return parser.parse_args(arguments)


def main() -> int:
    """Run all, and return how it ended."""
    asked = parsed()
    failed = 0
    runs = [KIT] * asked.kit + [FAULTS] * asked.faults
    with load(asked.cores):
        for context in asked.context or CONTEXTS:
            failed += sum(not passes(what, context, asked.options) for what in runs)
    sys.stdout.write(f"{failed} runs failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
