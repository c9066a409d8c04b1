"""Whole programs: how they begin and end, and what stands around them."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from core.fakes import PATIENCE
from process.programs import LOCAL

if TYPE_CHECKING:
    from process.programs import Runner


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


NESTED = """
import polyexec

class Point:
    pass

def double(number):
    return number * 2

def check(point):
    return isinstance(point, Point), Point()

def child():
    context = polyexec.get_context(METHOD)
    with context.Executor(1) as executor, context.Pool(1) as pool:
        mine, point = executor.submit(check, Point()).result()
        print(list(executor.map(double, range(3))), pool.map(double, [5]))
        print(mine, isinstance(point, Point), flush=True)

if __name__ == "__main__":
    process = polyexec.get_context(METHOD).Process(target=child)
    process.start()
    process.join()
"""


def test_a_child_process_can_use_functions_of_the_program_as_tasks(
    program: Runner, method: str
) -> None:
    if method not in LOCAL:
        pytest.skip("it has no Process")
    done = program.run(sys.executable, program.write(NESTED))
    assert (done.stdout, done.stderr) == ("[0, 2, 4] [10]\nTrue True\n", "")


FAILING = """
import traceback
import polyexec

def work():
    return 1 / 0  # here

if __name__ == "__main__":
    with polyexec.get_context(METHOD).Executor(1) as executor:
        error = executor.submit(work).exception()
        print("".join(traceback.format_exception(error)))
"""


def test_a_traceback_shows_the_line_of_the_program(program: Runner) -> None:
    path = program.write(FAILING)
    done = program.run(sys.executable, path)
    assert f'File "{path}", line 6, in work' in done.stdout
    assert "# here" in done.stdout


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
