"""Whole programs: how they end, and what they may define where."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from core.fakes import PATIENCE

if TYPE_CHECKING:
    from process.programs import Runner

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


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_a_global_that_the_initializer_sets_is_the_tasks(program: Runner, how: str) -> None:
    if how == "file":
        done = program.run(sys.executable, program.write(GLOBALS))
    else:
        done = program.run(sys.executable, "-", input=program.source(GLOBALS))
    assert (done.stdout, done.stderr) == ("[100, 101, 102]\n", "")


def test_a_program_without_a_guard_is_run_once(program: Runner) -> None:
    done = program.run(sys.executable, program.write(UNGUARDED))
    assert (done.stdout, done.stderr) == ("once\n[0, 2, 4]\n", "")


def test_an_interrupt_ends_the_program_with_one_traceback(program: Runner) -> None:
    command = [sys.executable, program.write(BUSY)]
    with program.start(*command, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert [running.stdout.readline() for _ in range(2)] != [""] * 2
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=4 * PATIENCE)
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")


PRELOADED = """
import os
import sys
import polyexec

with open("loads", "a") as loads:
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
    program: Runner, method: str, guard: str, *, loaded: bool, loads: str
) -> None:
    if method != "forkserver":
        pytest.skip("only fork servers preload")
    done = program.run(sys.executable, program.write(PRELOADED % guard))
    assert (done.stdout, done.stderr) == (f"{[loaded] * 4} True\n", "")
    assert (program.folder / "loads").read_text(encoding="utf-8") == loads


NEIGHBOURED = """
import os
import sys
import polyexec

if __name__ == "__main__":
    with polyexec.get_context(METHOD).Executor(1) as executor:
        print(executor.submit(abs, -1).result(), "cloudpickle" in sys.modules)
"""


@pytest.mark.parametrize("module", ["os", "stat", "posixpath", "_collections_abc"])
def test_a_neighbour_with_the_name_of_what_python_has_loaded_is_not_run(
    program: Runner, module: str
) -> None:
    (program.folder / f"{module}.py").write_text("raise SystemExit('run')", encoding="utf-8")
    done = program.run(sys.executable, program.write(NEIGHBOURED))
    assert (done.stdout, done.stderr) == ("1 False\n", "")


CROWDED = """
import os
import sys
import polyexec

if __name__ == "__main__":
    os.chdir("elsewhere")
    os.environ["PYTHONPATH"] = os.getcwd()
    sys.path += [f"{os.getcwd()}/{number}" for number in range(100_000 // len(os.getcwd()))]
    context = polyexec.get_context(METHOD)
    if METHOD == "spawn":
        context.set_forkserver_preload(["struct"])
    with context.Executor(1) as executor:
        print(executor.submit(abs, -1).result())
"""


def test_what_starts_workers_takes_nothing_from_the_environments_path(program: Runner) -> None:
    path = program.write(CROWDED)
    elsewhere = program.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "struct.py").write_text("raise SystemExit('run')", encoding="utf-8")
    done = program.run(sys.executable, path)
    assert (done.stdout, done.stderr) == ("1\n", "")
