"""Whole programs: how they end, and what they may define where."""

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


NAMED = """
import functools
import polyexec

@functools.lru_cache(maxsize=None)
def fib(number):
    return number if number < 2 else fib(number - 1) + fib(number - 2)

@functools.singledispatch
def kind(value):
    return "object"

@kind.register
def _(value: int):
    return "int"

class Known:
    @functools.cached_property
    def cached(self):
        return fib(10)

    @functools.singledispatchmethod
    def kind(self, value):
        return kind(value)

def use(value):
    return fib(20), kind(value), Known().cached, Known().kind("text")

if __name__ == "__main__":
    with polyexec.get_context(METHOD).Executor(1) as executor:
        print(executor.submit(fib, 30).result(), executor.submit(kind, 1).result())
        print(executor.submit(use, 1).result())
"""


def test_what_functools_makes_of_functions_of_the_main_module_can_be_tasks(
    program: Runner,
) -> None:
    done = program.run(sys.executable, program.write(NAMED))
    expected = "832040 int\n(6765, 'int', 55, 'object')\n"
    assert (done.stdout, done.stderr) == (expected, "")


STATEFUL = """
import polyexec

seen = {"begun": 0}

class Record:
    names = ()

record = Record()

def initialize():
    seen["begun"] = 1
    record.names += ("initialize",)

def one(value):
    seen["one"] = value
    record.names += ("one",)
    return sorted(seen.items()), record.names

def two(value):
    seen["two"] = value
    record.names += ("two",)
    return sorted(seen.items()), record.names

if __name__ == "__main__":
    with polyexec.get_context(METHOD).Executor(1, initializer=initialize) as executor:
        for fn in (one, two, one):
            print(*executor.submit(fn, fn.__name__).result())
        seen["main"] = "new"
        print(*executor.submit(lambda: sorted(seen)).result())
"""


def test_what_tasks_make_of_globals_stays_though_they_are_delivered_again(program: Runner) -> None:
    done = program.run(sys.executable, program.write(STATEFUL))
    first = "('begun', 1), ('one', 'one')"
    names = "'initialize', 'one', 'two'"
    # One that was changed where it comes from is delivered again, but to who has inherited it.
    last = "begun one two" if program.method == "fork" else "begun main"
    assert (done.stdout.splitlines(), done.stderr) == (
        [
            f"[{first}] ('initialize', 'one')",
            f"[{first}, ('two', 'two')] ({names})",
            f"[{first}, ('two', 'two')] ({names}, 'one')",
            last,
        ],
        "",
    )


REBOUND = """
import gc
import weakref
import polyexec

factor = 1
kept = ["first"]

def scale(number):
    return number * factor

def indirect(number):
    return scale(number)

def late():
    return defined_later()

if __name__ == "__main__":
    context = polyexec.get_context(METHOD)
    with context.Executor(2) as executor:
        futures = []
        for factor in (1, 2, 3, 2, 1):
            futures += [executor.submit(fn, 10) for fn in (scale, lambda n: n * factor, indirect)]
        print([future.result() for future in futures])
        maps = []
        for factor in (1, 2, 1):
            maps.append(executor.map(lambda number: factor, range(2000)))
            maps.append(executor.map(indirect, [1] * 2000))
            maps.append(executor.map(indirect, [1] * 500, chunksize=1))
        factor = 0
        print([set(results) for results in maps])
        for replacement in (kept, ["second"], kept):
            kept = replacement
            print(executor.submit(lambda: kept[0]).result(), end=" ")
        print(repr(executor.submit(late).exception()))
        def defined_later():
            return "defined"
        print(executor.submit(late).result())
    used = [context.Executor(1)]
    print(used[0].submit(lambda: len(used) if factor else None).result())
    gone = weakref.ref(used[0])
    used = None
    gc.collect()
    print(gone())
"""


def test_a_function_finds_its_globals_as_they_were_bound_when_it_was_submitted(
    program: Runner,
) -> None:
    done = program.run(sys.executable, program.write(REBOUND))
    tens = [10, 20, 30, 20, 10]
    assert (done.stdout.splitlines(), done.stderr) == (
        [
            str([ten for ten in tens for _ in range(3)]),
            str([{factor} for factor in (1, 1, 1, 2, 2, 2, 1, 1, 1)]),
            """first second first NameError("name 'defined_later' is not defined")""",
            "defined",
            "None",
            "None",
        ],
        "",
    )


INHERITED = """
import multiprocessing
import threading
import polyexec

context = polyexec.get_context(METHOD)
guard, lock, count = threading.Lock(), context.Lock(), context.Value("i", 0)

class Point:
    pass

def factory():
    class Other:
        pass
    return Other

Unnamed, empty = factory(), Point()

def work(point):
    with guard, lock:
        count.value += 1
    return isinstance(point, Point), Point()

def is_unnamed(value):
    return isinstance(value, Unnamed), Unnamed()

def current():
    return "old"

def indirect():
    return [current() for _ in range(1)]

if __name__ == "__main__":
    with context.Executor(2) as executor:
        results = list(executor.map(work, [Point(), Point()]))
        print([mine and isinstance(point, Point) for mine, point in results], count.value)
        count = empty = None
        print(executor.submit(lambda: (count, empty)).result())
        mine, made = executor.submit(is_unnamed, Unnamed()).result()
        print(mine, isinstance(made, Unnamed))

        def current():
            return "new"

        print(executor.submit(indirect).result())
    with context.Pool(2) as pool:
        print(pool.map(type, [Point()]) == [Point])
"""


def test_forked_workers_have_what_the_main_module_had(program: Runner) -> None:
    if program.method != "fork":
        pytest.skip("others inherit nothing")
    done = program.run(sys.executable, program.write(INHERITED))
    assert (done.stdout, done.stderr) == (
        "[True, True] 2\n(None, None)\nTrue True\n['new']\nTrue\n",
        "",
    )


USED = """
import polyexec

def keep(value):
    global queue
    queue = value

def put(value):
    queue.put(value)

if __name__ == "__main__":
    context = polyexec.get_context(METHOD)
    queue = context.Queue()
    queue.put("parent's")
    print(queue.get())
    with context.Executor(1, initializer=keep, initargs=(queue,)) as executor:
        executor.submit(put, "worker's").result()
        print(queue.get(timeout=20))
"""


def test_a_queue_that_the_parent_has_used_works_in_workers(program: Runner, method: str) -> None:
    if method not in LOCAL:
        pytest.skip("it has no Queue")
    done = program.run(sys.executable, program.write(USED))
    assert (done.stdout, done.stderr) == ("parent's\nworker's\n", "")


ITEMS = """
import polyexec

class Item:
    value = 5

def keep(value):
    global queue
    queue = value

def take():
    return queue.get(timeout=20).value

def take_item():
    item = queue.get(timeout=20)
    return isinstance(item, Item) and item.value

if __name__ == "__main__":
    context = polyexec.get_context(METHOD)
    queue = context.Queue()
    with context.Executor(1, initializer=keep, initargs=(queue,)) as executor:
        queue.put(Item())
        print(repr(executor.submit(take).exception()))
        queue.put(Item())
        print(executor.submit(take_item).result())
"""


def test_a_pickle_that_knows_a_class_by_name_is_told_what_brings_it(
    program: Runner, method: str
) -> None:
    if method not in LOCAL:
        pytest.skip("it has no Queue")
    error, value = program.lines(ITEMS)
    if method == "fork":
        assert error == "None"  # it inherits them
    else:
        assert "AttributeError" in error
        assert "'Item'" in error
        assert "use the name in the function that is called" in error
    assert value == "5"


WITHOUT = """
import threading
import polyexec

lock = threading.Lock()
inner = {"lock": lock}

def own():
    global lock
    lock = threading.Lock()

def use(value):
    with lock:
        return value

def look(value):
    return value if value else inner["lock"]

if __name__ == "__main__":
    with polyexec.get_context(METHOD).Executor(1) as executor:
        print(repr(executor.submit(use, 1).exception()))
        print(executor.submit(look, 1).result(), repr(executor.submit(look, 0).exception()))
        print(type(executor.submit(lambda: lock).exception()).__name__)
    with polyexec.get_context(METHOD).Executor(1, initializer=own) as executor:
        print(executor.submit(use, 1).result())
"""


def test_a_global_that_cannot_be_sent_is_missed_only_by_who_uses_it(program: Runner) -> None:
    if program.method == "fork":
        pytest.skip("it inherits them")
    done = program.run(sys.executable, program.write(WITHOUT))
    first, second, returned, third = done.stdout.splitlines()
    assert first.startswith("UnpicklableError(\"the global 'lock' of the main module was not sent")
    assert second.startswith("1 UnpicklableError(\"the global 'inner' of the main module was not")
    assert returned == "UnpicklableError"
    assert (third, done.stderr) == ("1", "")


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
