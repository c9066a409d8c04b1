"""Whole programs: how they end, and what they may define where."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.fakes import PATIENCE
from polyexec.testing._ends import has_ended

GLOBALS = """
import polyexec

offset = None


def initialize(value):
    global offset
    offset = value


def work(number):
    return number + offset


if __name__ == "__main__":
    context = polyexec.get_context(METHOD)
    with context.Executor(2, initializer=initialize, initargs=(100,)) as executor:
        print(list(executor.map(work, range(3))))
"""

BUSY = """
import os, signal
import polyexec

# Whoever runs the tests in the background has interrupts ignored, and so would this.
signal.signal(signal.SIGINT, signal.default_int_handler)


def work():
    os.write(1, f"{os.getpid()}\\n".encode())  # in one piece, whatever others write
    while True:
        pass


if __name__ == "__main__":
    with polyexec.get_context(METHOD).Executor(2) as executor:
        futures = [executor.submit(work) for _ in range(2)]
        futures[0].result()
"""


UNGUARDED = """
import polyexec

print("once")
with polyexec.get_context(METHOD).Executor(2) as executor:
    print(list(executor.map(lambda number: number * 2, range(3))))
"""


def write(folder: Path, method: str, source: str) -> str:
    file = folder / "program.py"
    file.write_text(source.replace("METHOD", repr(method)), encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_a_global_that_the_initializer_sets_is_the_tasks(
    tmp_path: Path, method: str, how: str
) -> None:
    program = write(tmp_path, method, GLOBALS)
    with Path(program).open(encoding="utf-8") as source:
        run = subprocess.run(
            [sys.executable, program] if how == "file" else [sys.executable, "-"],
            stdin=source,
            capture_output=True,
            text=True,
            check=True,
            timeout=4 * PATIENCE,
        )
    assert (run.stdout, run.stderr) == ("[100, 101, 102]\n", "")


def test_a_program_without_a_guard_is_run_once(tmp_path: Path, method: str) -> None:
    run = subprocess.run(
        [sys.executable, write(tmp_path, method, UNGUARDED)],
        capture_output=True,
        text=True,
        check=True,
        timeout=4 * PATIENCE,
    )
    assert (run.stdout, run.stderr) == ("once\n[0, 2, 4]\n", "")


def test_busy_workers_end_with_a_killed_program(tmp_path: Path, method: str) -> None:
    command = [sys.executable, write(tmp_path, method, BUSY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        pids = [int(program.stdout.readline()) for _ in range(2)]
        program.kill()
    assert all(has_ended(pid, PATIENCE) for pid in pids)


def test_an_interrupt_ends_the_program_and_its_workers(tmp_path: Path, method: str) -> None:
    command = [sys.executable, write(tmp_path, method, BUSY)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        pids = [int(program.stdout.readline()) for _ in range(2)]
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=4 * PATIENCE)
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert all(has_ended(pid, PATIENCE) for pid in pids)


PRELOADED = """
import os
import sys
import polyexec

with open(sys.argv[1] if len(sys.argv) > 1 else "loads", "a") as loads:
    loads.write("x")


def is_loaded(_):
    return sys.modules["__main__"].__name__ == "__mp_main__"


%s
    with polyexec.get_context("forkserver") as context:
        context.set_forkserver_preload(["__main__", "json", "no_such_module"])
        with context.Executor(2) as executor:
            print(list(executor.map(is_loaded, range(4))), executor.submit(
                lambda: "json" in sys.modules).result())
"""


@pytest.mark.parametrize(
    ("guard", "loaded", "loads"),
    [('if __name__ == "__main__":', True, "xx"), ("if True:", False, "x")],
)
def test_a_guarded_program_can_be_preloaded_once(
    tmp_path: Path, guard: str, *, loaded: bool, loads: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PRELOADED % guard, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program],
        check=False,
        timeout=4 * PATIENCE,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == (f"{[loaded] * 4} True\n", "")
    assert (tmp_path / "loads").read_text(encoding="utf-8") == loads
