"""Classes and globals that change between tasks, and definitions that are not to be lost."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from typing import TYPE_CHECKING

import pytest
from cloudpickle import cloudpickle

from core.fakes import PATIENCE
from polyexec.serialization.tracker import identity_of

if TYPE_CHECKING:
    from polyexec import Context
    from process.programs import Runner

#: What each program begins with.
HEAD = """
import collections
import gc
import os
import pathlib
import sys
import threading
import polyexec

def open_executor(**options):
    return polyexec.get_context(METHOD).Executor(1, **options)
"""

CHANGED = """
class Config:
    size = 1

    def get(self):
        return self.size

ran = 0

def size_of(_=None):
    return Config.size

def fail_once():
    global ran
    ran += 1
    if ran == 1:
        raise OSError
    return Config.size

def has_extra():
    return getattr(Config, "extra", None)

if __name__ == "__main__":
    with open_executor() as executor:
        def call(fn, *args):
            return executor.submit(fn, *args).result()
        sizes = [call(size_of)]
        Config.size = 2
        sizes.append(call(Config().get))
        Config.size = 1
        print(*sizes, call(size_of))
        outcomes = executor.map(size_of, range(300))
        first = next(outcomes)
        Config.size = 2
        print(first, call(size_of), set(outcomes))
        Config.size = 1
        gate = pathlib.Path("gate").absolute()
        os.mkfifo(gate)
        executor.submit(gate.read_bytes)
        again = executor.options(retries=1, retry_exceptions=(OSError,)).submit(fail_once)
        Config.size = 2
        first = executor.options(priority=1).submit(size_of)
        gate.write_text("open")
        print(first.result(), again.result(), call(size_of))
        shared = executor.share(Config())
        Config.size = 3
        print(call(size_of), call(lambda handle: handle.value.size, shared), call(size_of))
        extras = []
        for extra in (1, 2):
            extras.append(call(has_extra))
            Config.extra = extra
            extras.append(call(has_extra))
            del Config.extra
        print(*extras, call(has_extra))
"""

SELF_NAMING = """
LIMIT = 0

class Base:
    @classmethod
    def default(cls):
        return Special()

class Special(Base):
    def run(self):
        return LIMIT

    def again(self):
        return Special().run()

def special():
    return Special().run(), LIMIT

if __name__ == "__main__":
    with open_executor() as executor:
        for LIMIT in range(4):
            calls = special, Base.default, Special().again, Special().run
            results = [executor.submit(call).result() for call in calls]
            print(LIMIT, results[0], results[1].run(), *results[2:])
"""

KEPT = """
def size(item):
    return len(item[0]), item[1].x

def make(number):
    Point = collections.namedtuple("Point", "x y")
    return [{"row": number} for number in range(20000)], Point(number, 0)

def work():
    Point = collections.namedtuple("Point", "x y")
    with open_executor() as executor:
        return executor.submit(lambda: Point(1, 2))

def main():
    class Config:
        x = 1
    rows = [{"row": number} for number in range(20000)]
    with open_executor() as executor:
        print(set(executor.map(size, [(rows, Config())] * 4, chunksize=2)))
        print([pair[1].x for pair in executor.map(make, range(4), chunksize=2)])
    future = work()
    gc.collect()
    print(*future.result())

if __name__ == "__main__":
    main()
"""

WITHIN = """
def use(obj):
    return obj.value

class Submitting:
    def __init__(self, executor, futures):
        self.to = executor, futures

    def __reduce__(self):
        class Local:
            value = 5
        executor, futures = self.to
        futures.append(executor.submit(use, Local()))
        return int, (3,)

class Holder:
    pass

def name_of(obj):
    return type(obj).__name__

if __name__ == "__main__":
    with open_executor() as executor, open_executor() as other:
        for to in (executor, other):
            futures = []
            obj = Submitting(to, futures)
            names = [executor.submit(name_of, obj).result()]
            names += executor.map(name_of, [obj, Holder()], chunksize=2)
            Holder.held = obj
            names.append(executor.submit(name_of, Holder()).result())
            del Holder.held
            print(*names, {future.result() for future in futures})
"""

IMPORTING = """
import pathlib

class Loading:
    def __reduce__(self):
        return load, ()

def load():
    started.set()
    import slow_module
    return 5

def make():
    class Local:
        pass
    return Local()

def make_loading():
    class Local:
        attribute = Loading()
    return Local()

if __name__ == "__main__":
    started = threading.Event()
    pathlib.Path(sys.path[0], "slow_module.py").write_text(
        "import __main__; __main__.started.wait(); __main__.pending.result()"
    )
    with open_executor() as executor:
        pending, loading = executor.submit(make), executor.submit(make_loading)
        importer = threading.Thread(target=lambda: __import__("slow_module"))
        importer.start()
        print(loading.result().attribute)
        importer.join()
"""

NAMED = """
import dataclasses
import functools
import pickle

def add(x, y):
    return x + y

NAMES = {add: "add"}
calls = []

@dataclasses.dataclass(frozen=True)
class Job:
    fn: object

@functools.lru_cache
def slow(number):
    calls.append(number)
    return len(calls)

def logged(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        wrapper.calls += 1
        return wrapper.calls, fn(*args)
    wrapper.calls = 0
    return wrapper

@logged
def double(number):
    return 2 * number * factor

def counter():
    count = 0
    def bump():
        nonlocal count
        count += 1
    return bump, lambda: count

bump, value = counter()
power = functools.lru_cache(functools.partial(pow, 2))

def look_up(fn):
    return NAMES[fn], fn is add, pickle.loads(pickle.dumps(fn)) is add

def back():
    return add

def call(fn, *args):
    return fn(*args)

def count():
    bump()
    return value()

factor = 1

if __name__ == "__main__":
    with open_executor() as executor:
        print(executor.submit(look_up, add).result(), NAMES[executor.submit(back).result()])
        print(executor.submit(lambda job: job, Job(add)).result() == Job(add))
        print([executor.submit(call, slow, 1).result() for _ in range(3)])
        results = [executor.submit(double, 1).result()]
        results += executor.map(double, [1])
        factor = 2
        results.append(executor.submit(double, 1).result())
        print(*results)
        print([executor.submit(count).result() for _ in range(3)])
        print(executor.submit(power, 3).result())
        def add(x, y):
            return x - y
        print(executor.submit(call, add, 3, 1).result(), executor.submit(back).result() is add)
"""

REDEFINED = """
import functools

SOURCE = '''
def add(x, n={0}) -> {1}:
    return x + n

@functools.lru_cache
def cached(x, *, n={0}):
    return x + n

def keyed(x):
    return x
keyed.key = {0}
'''

def key_of(function):
    return function.key

def hint_of(function):
    return function.__annotations__["return"].__name__

if __name__ == "__main__":
    with open_executor() as executor:
        for args in ((1, "int"), (2, "float"), (1, "int")):
            exec(SOURCE.format(*args))
            results = [executor.submit(fn, 1).result() for fn in (add, cached)]
            results += [executor.submit(key_of, keyed).result()]
            print(*results, executor.submit(hint_of, add).result())
"""

FIRST_USE = """
class Config:
    size = 3

def size_of(obj):
    return obj.size

sizes = []

def use():
    with open_executor() as executor:
        sizes.append(executor.submit(size_of, Config()).result())

if __name__ == "__main__":
    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sizes)
"""


def test_each_task_finds_classes_as_they_were_when_it_was_submitted(program: Runner) -> None:
    assert program.lines(HEAD + CHANGED) == [
        "1 2 1",
        "1 2 {1}",
        "2 1 2",
        "3 2 3",
        "None 1 None 2 None",
    ]


def test_a_class_that_names_itself_or_one_of_its_own_finds_globals_as_they_are(
    program: Runner,
) -> None:
    assert program.lines(HEAD + SELF_NAMING) == [
        f"{limit} ({limit}, {limit}) {limit} {limit} {limit}" for limit in range(4)
    ]


def test_a_function_that_has_a_name_is_one_in_a_process(program: Runner) -> None:
    assert program.lines(HEAD + NAMED) == [
        "('add', True, True) add",
        "True",
        "[1, 1, 1]",
        "(1, 2) (2, 2) (3, 4)",
        "[1, 2, 3]",
        "8",
        "2 True",
    ]


def test_a_function_that_is_defined_again_is_another(program: Runner) -> None:
    assert program.lines(HEAD + REDEFINED) == ["2 2 1 int", "3 3 2 float", "2 2 1 int"]


def test_classes_live_until_all_is_read_that_came_with_them(program: Runner) -> None:
    assert program.lines(HEAD + KEPT) == ["{(20000, 1)}", "[0, 1, 2, 3]", "1 2"]


def test_an_executor_that_was_shut_down_keeps_no_class(context: Context) -> None:
    class Local:
        pass

    executor = context.Executor(1)
    result = executor.submit(type, Local()).result()
    assert result is Local
    executor.shutdown()
    reference = weakref.ref(Local)
    del Local, result
    gc.collect()
    assert reference() is None


def test_what_is_submitted_while_something_else_is_pickled_brings_its_own_classes(
    program: Runner,
) -> None:
    assert program.lines(HEAD + WITHIN) == ["int int Holder Holder {5}"] * 2


def test_no_class_waits_for_an_import_of_another_thread(program: Runner) -> None:
    assert program.lines(HEAD + IMPORTING) == ["5"]


@pytest.mark.parametrize("method", ["fork"])
def test_threads_may_all_begin_at_once(program: Runner) -> None:
    assert program.lines(HEAD + FIRST_USE) == ["[3, 3, 3, 3]"]


def test_who_interrupts_the_numbering_of_classes_may_number_some() -> None:
    with cloudpickle._DYNAMIC_CLASS_TRACKER_LOCK:
        kind = type("Local", (), {})
        assert identity_of(kind) == identity_of(kind)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_any_thread_of_a_forked_child_may_number_classes() -> None:
    pid = os.fork()
    if not pid:
        taken: list[bool] = []
        lock = cloudpickle._DYNAMIC_CLASS_TRACKER_LOCK
        thread = threading.Thread(target=lambda: taken.append(lock.acquire(timeout=PATIENCE)))
        thread.start()
        thread.join()
        os._exit(0 if taken == [True] else 1)
    assert os.waitpid(pid, 0)[1] == 0
