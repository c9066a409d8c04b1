"""However a program ends, it ends, and nothing of it is left."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from core.fakes import PATIENCE

if TYPE_CHECKING:
    from process.programs import Runner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

START = """
import os
import signal
import subprocess
import sys
import time
import polyexec

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

def work(number):
    time.sleep(0.01)
    with open("done", "ab", buffering=0) as file:
        file.write(b"x")
    return number

def busy(*_):
    child = subprocess.Popen(["sleep", "1000"])
    os.write(1, b"busy\\n")
    while True:
        pass

context = polyexec.get_context(METHOD)
"""

#: How a program ends with work that is not finished, and what it says of that.
UNFINISHED = {
    "an exception within `with`": (
        (
            "with context.Executor(2) as executor:\n"
            "    futures = [executor.submit(work, n) for n in range(100)]\n"
            "    raise ValueError('over')"
        ),
        1,
        "ValueError: over",
    ),
    "an exception without shutdown": (
        (
            "executor = context.Executor(2)\n"
            "futures = [executor.submit(work, n) for n in range(100)]\n"
            "raise ValueError('over')"
        ),
        1,
        "ValueError: over",
    ),
    "sys.exit within `with`": (
        (
            "with context.Executor(2) as executor:\n"
            "    futures = [executor.submit(work, n) for n in range(100)]\n"
            "    sys.exit(7)"
        ),
        7,
        "",
    ),
    "sys.exit while a thread waits": (
        (
            "import threading\n"
            "executor = context.Executor(2)\n"
            "futures = [executor.submit(work, n) for n in range(100)]\n"
            "threading.Thread(target=futures[-1].result).start()\n"
            "sys.exit(7)"
        ),
        7,
        "",
    ),
    "its last line": (
        "executor = context.Executor(2)\nfor n in range(100):\n    executor.submit(work, n)",
        0,
        "",
    ),
    "an unread map": ("results = context.Executor(2).map(work, range(100))", 0, ""),
    "an executor that was dropped": (
        "for n in range(100):\n    context.Executor(2).submit(work, n) if n % 25 == 0 else work(n)",
        0,
        "",
    ),
}


@pytest.mark.parametrize("how", UNFINISHED)
def test_what_was_accepted_is_finished_when_the_program_ends(program: Runner, how: str) -> None:
    ending, code, says = UNFINISHED[how]
    done = program.run(sys.executable, program.write(START + ending))
    assert (done.returncode, done.stderr.strip().rpartition("\n")[2]) == (code, says)
    assert (program.folder / "done").read_bytes() == b"x" * 100


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_program_and_all_that_its_tasks_started(
    program: Runner, signum: signal.Signals
) -> None:
    source = "with context.Executor(2) as executor:\n    list(executor.map(busy, range(2)))"
    command = [sys.executable, program.write(START + source)]
    with program.start(*command, stderr=subprocess.DEVNULL) as running:
        assert running.stdout is not None
        assert [running.stdout.readline() for _ in range(2)] == ["busy\n"] * 2
        running.send_signal(signum)
        assert running.wait(2 * PATIENCE) == -signum
    assert program.survivors() == []


@pytest.mark.parametrize(
    "ending",
    ["os._exit(3)", "os.abort()", "os.execv('/bin/true', ['true'])"],
)
def test_busy_workers_end_with_a_program_that_ends_at_once(program: Runner, ending: str) -> None:
    source = f"""
executor = context.Executor(2)
futures = [executor.submit(busy) for _ in range(2)]
os.read(0, 1)
{ending}
"""
    command = [sys.executable, program.write(START + source)]
    with program.start(*command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        assert running.stdout is not None
        assert [running.stdout.readline() for _ in range(2)] == ["busy\n"] * 2
        running.communicate("x", timeout=2 * PATIENCE)
    assert program.survivors() == []


def test_sigterm_that_raises_lets_the_program_end_in_order(program: Runner) -> None:
    source = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
with context.Executor(2) as executor:
    futures = [executor.submit(work, n) for n in range(100)]
    futures[0].result()
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
"""
    done = program.run(sys.executable, program.write(START + source))
    assert (done.returncode, done.stderr) == (5, "")
    assert (program.folder / "done").read_bytes() == b"x" * 100


def test_an_event_loop_that_fails_leaves_nothing(program: Runner) -> None:
    source = """
import asyncio

async def main():
    with context.Executor(2) as executor:
        futures = [executor.submit(work, n) for n in range(100)]
        await futures[0]
        raise ValueError("over")

asyncio.run(main())
"""
    done = program.run(sys.executable, program.write(START + source))
    assert (done.returncode, done.stderr.strip().rpartition("\n")[2]) == (1, "ValueError: over")
    assert (program.folder / "done").read_bytes() == b"x" * 100


def test_a_program_that_forked_ends_twice_and_finishes_its_work_once(program: Runner) -> None:
    source = """
executor = context.Executor(2)
futures = [executor.submit(work, n) for n in range(100)]
child = os.fork()
if child:
    os.waitpid(child, 0)
"""
    done = program.run(sys.executable, "-W", "ignore", program.write(START + source))
    assert (done.returncode, done.stderr) == (0, "")
    assert (program.folder / "done").read_bytes() == b"x" * 100


def test_a_child_that_outlives_the_program_keeps_no_workers(program: Runner) -> None:
    source = """
executor = context.Executor(2)
executor.submit(work, 1).result()
if os.fork():
    os._exit(0)
os.read(0, 1)
"""
    command = [sys.executable, "-W", "ignore", program.write(START + source)]
    with program.start(*command, stdin=subprocess.PIPE) as running:
        assert running.wait(2 * PATIENCE) == 0
        assert len(program.survivors(but=1)) == 1
        running.communicate("x", timeout=2 * PATIENCE)
