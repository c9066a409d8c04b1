"""Globals of the main module, in workers: those that are sent, inherited, set there or missed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from process.programs import LOCAL

if TYPE_CHECKING:
    from process.programs import Runner


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
