"""Classes of the main module, and what functions of it are bound to, in workers and in results."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from core.fakes import PATIENCE
from process.programs import LOCAL

if TYPE_CHECKING:
    from process.programs import Runner

#: What each program begins with.
HEAD = """
import copyreg
import dataclasses
import enum
import functools
import pickle
import sys
import threading
import typing
import polyexec

context = None

def main():
    global context
    context = polyexec.get_context(METHOD)
    return context.Executor

def shown(executor, *call):
    try:
        print(executor.submit(*call).result())
    except BaseException as error:
        print(repr(error))
"""

STATE = """
class Model:
    net, calls = None, 0

    @classmethod
    def get(cls):
        cls.calls += 1
        return cls.calls

def load():
    Model.net = "loaded"

def predict(_):
    return Model.net

def count():
    Model.calls += 1
    return Model.calls

def use(model):
    return model.net, Model.calls

if __name__ == "__main__":
    with main()(1, initializer=load) as executor:
        shown(executor, predict, 0)
        print([executor.submit(fn).result() for fn in (count, Model.get, count, Model.get)])
        shown(executor, use, Model())
        Model.net = "rebound"
        Model.calls = 100
        shown(executor, use, Model())
        Model.other = 1
        shown(executor, lambda: Model.other)
        Model.other = 2
        shown(executor, lambda: Model.other)
    with context.Pool(1, load) as pool:
        print(pool.map(predict, range(2)))
"""

RESULTS = """
class Job:
    seen, verbose, made = [], False, 0

    def __init__(self, number):
        Job.made += 1
        self.number = number

    def run(self):
        return "real"

class Failure(Exception):
    count = 0

class Shape:
    kinds = {}

    def __init_subclass__(cls, **_):
        if cls.__name__ in Shape.kinds:
            raise TypeError(f"another {cls.__name__}")
        Shape.kinds[cls.__name__] = cls

class Square(Shape):
    side = 2

class API:
    class Error(Exception):
        pass

def make(number):
    Job.verbose = True
    Job.run = None
    return Job(number)

def square(_):
    return Square()

def fail():
    Failure.count += 5
    raise Failure("failed")

def fail_within():
    raise API.Error("within")

if __name__ == "__main__":
    alias = Job.seen
    with main()(2) as executor:
        for number in range(3):
            Job.seen.append(executor.submit(make, number).result().number)
        jobs = executor.map(make, range(100), chunksize=3)
        for number in range(1000):
            Job(number)
        list(jobs)
        print(Job.seen, Job.seen is alias, Job.verbose, Job.made, Job(0).run())
        print(type(executor.submit(square, 0).result()) is Square, Shape.kinds["Square"] is Square)
        try:
            executor.submit(fail).result()
        except Failure:
            print("caught", Failure.count)
        try:
            executor.submit(fail_within).result()
        except API.Error as error:
            print("caught", error)
"""

KINDS = """
class Plugin:
    def __init_subclass__(cls, *, key, **rest):
        super().__init_subclass__(**rest)
        cls.key = key

class Csv(Plugin, key="csv"):
    pass

class Frozen(type):
    def __new__(meta, name, bases, namespace, **rest):
        if "size" not in namespace:
            raise TypeError("a class without size")
        return super().__new__(meta, name, bases, namespace)

    def __setattr__(cls, name, value):
        raise AttributeError("frozen")

class Const(metaclass=Frozen):
    size = 3

class Slotted:
    __slots__ = ("_left", "__right")

    def __init__(self):
        self._left, self.__right = 1, 2

    def both(self):
        return self._left, self.__right

class Planet(enum.Enum):
    EARTH = (1, 2)
    MARS = (3, 4)

    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius

class Permission(enum.Flag):
    READ = 1
    WRITE = 2
    ALL = READ | WRITE

class Colour(str, enum.Enum):
    def __new__(cls, value, label="none"):
        member = str.__new__(cls, value)
        member._value_, member.label = value, label
        return member

    GREY = "g", "grey"
    GRAY = "g"
    RED = "r"

class Pair(typing.NamedTuple):
    left: int
    right: int = 2

class Options(typing.TypedDict):
    name: str

T = typing.TypeVar("T")

class Box(typing.Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content

UserId = typing.NewType("UserId", int)
P = typing.ParamSpec("P")

class Missing:
    def __reduce__(self):
        return "MISSING"

MISSING = Missing()

def typed(user: UserId, call: typing.Callable[P, int] = len) -> UserId:
    return UserId(user + call("abc"))

def extra(slotted):
    slotted.other = 1

def slotted_result():
    return Slotted()

def body():
    class Local:
        best = Colour.RED
    return Local.best.value

class Money(int):
    currency = "none"

def reduce_money(money):
    return coined, (int(money), "EUR")

def coined(amount, currency):
    money = Money(amount)
    money.currency = currency
    return money

copyreg.pickle(Money, reduce_money)

def flags(flag):
    return flag, Permission.READ | Permission.WRITE, Colour.GRAY is Colour.GREY, Colour("r").label

def pairs(pair):
    return pair, Pair(1), Options(name="x"), Box[int](1).content

def missing(value):
    return value is MISSING, MISSING

if __name__ == "__main__":
    with main()(1) as executor:
        shown(executor, lambda: (Csv.key, Const.size))
        print(executor.submit(slotted_result).result().both())
        shown(executor, extra, Slotted())
        shown(executor, lambda planet: (planet is Planet.EARTH, planet.radius), Planet.EARTH)
        shown(executor, flags, Permission.ALL)
        print(executor.submit(lambda: Colour.GREY).result() is Colour.GREY)
        shown(executor, pairs, Pair(3, 4))
        shown(executor, typed, 1)
        shown(executor, body)
        shown(executor, lambda money: money.currency, Money(3))
        known, result = executor.submit(missing, MISSING).result()
        print(known, result is MISSING)
"""

BOUND = """
NOTHING, CACHE, registry = object(), {}, []

def other():
    return NOTHING is not None

def get(value=NOTHING, *, again=NOTHING):
    return value is NOTHING, again is NOTHING

def remember(number, cache=CACHE):
    cache[number] = number
    return len(cache), len(CACHE)

def memo(cache):
    def decorate(fn):
        @functools.wraps(fn)
        def call(number):
            if number not in cache:
                cache[number] = fn(number)
            return cache[number]
        return call
    return decorate

@memo(CACHE)
def double(number):
    return number * 2

@functools.lru_cache
def load(number):
    registry.append(number)
    return len(registry)

def hit():
    hit.count = getattr(hit, "count", 0) + 1
    return hit.count

def hit_again():
    return hit() + 100

def prepare():
    hit.count = 10

big = {number: 0 for number in range(40_000)}

def bump():
    big[0] += 1
    return big[0]

def look():
    return big[0]

if __name__ == "__main__":
    with main()(1, initializer=prepare) as executor:
        print([executor.submit(fn).result() for fn in (other, get, other, get)])
        print([executor.submit(remember, number).result() for number in (1, 2)])
        print(executor.submit(double, 3).result(), executor.submit(lambda: sorted(CACHE)).result())
        print([executor.submit(load, number).result() for number in (1, 1, 2, 1)])
        print([executor.submit(fn).result() for fn in (hit, hit, hit_again, hit)])
        print([executor.submit(fn).result() for fn in (bump, bump, look, bump)])
"""

NAMES = """
class Found:
    def __init__(self, number):
        self.number = number

def start(q):
    global queue
    queue = q

def work(number):
    queue.put(Found(number))

def saved(path):
    with open(path, "wb") as file:
        pickle.dump(Found(1), file)

def loaded(path):
    with open(path, "rb") as file:
        return pickle.load(file).number

def hints() -> "Found":
    return sorted(typing.get_type_hints(hints).items())[0][1] is Found

if __name__ == "__main__":
    Executor = main()
    queue = context.Queue()
    with Executor(1, initializer=start, initargs=(queue,)) as executor:
        list(executor.map(work, range(2)))
        print([queue.get(timeout=TIMEOUT).number for _ in range(2)])
        executor.submit(saved, "found.pickle").result()
        shown(executor, loaded, "found.pickle")
        shown(executor, hints)
"""

LOCKS = """
def guarded(fn):
    lock = threading.Lock()

    @functools.wraps(fn)
    def call(*args):
        with lock:
            return fn(*args)
    return call

class Counter:
    lock, count = threading.Lock(), 0

    @guarded
    def once(self, lock=threading.Lock()):
        with lock:
            return self

    def hit(self):
        with self.lock:
            Counter.count += 1
            return Counter.count

LOCKS = (threading.Lock(),)

@guarded
def work():
    with LOCKS[0]:
        return 1

def default(lock=threading.Lock()):
    with lock:
        return 2

class Model:
    def __init__(self):
        self.weights = None

    def __call__(self):
        return self.weights

model = Model()

def load():
    model.weights = 5

def predict():
    return model()

if __name__ == "__main__":
    with main()(1, initializer=load) as executor:
        for call in (Counter().hit, Counter().once().hit, work, default, predict):
            shown(executor, call)
"""

REBOUND = """
factor = 1

class Scale:
    unit = "m"

    def of(self, number):
        return number * factor, self.unit

class Metric:
    unit = "cm"

class Inch(Metric):
    pass

def of_one():
    return Scale().of(1)

if __name__ == "__main__":
    with main()(1) as executor:
        futures = []
        for factor in (1, 2, 1, 2):
            futures += [executor.submit(of_one) for _ in range(2)]
            futures += [executor.submit(lambda: Scale().of(1)), executor.submit(Scale().of, 1)]
        print([future.result()[0] for future in futures])
        maps = []
        for factor in (1, 2):
            maps.append(executor.map(lambda number: Scale().of(number)[0], [1] * 2000))
        print([set(results) for results in maps])
        for unit in ("km", "m", "ft", "m"):
            Scale.unit = unit
            print(executor.submit(lambda: Scale.unit).result(), end=" ")
            print(executor.submit(of_one).result()[1], end=" ")
            print(*executor.map(lambda _: Scale.unit, [1], chunksize=2), end=" ")
        print()
        Metric.unit = "mm"
        shown(executor, lambda: Inch.unit)
        Scale.unit = "km"
        shown(executor, of_one)
        def of(self, number):
            return "patched"
        Scale.of = of
        shown(executor, of_one)
        shown(executor, Scale().of, 1)
"""

CHILD = """
factor = 1

class Counter:
    count = 0

    def next(self):
        Counter.count += 1
        return Counter.count * factor

def scaled():
    return factor

def work():
    global factor
    with main()(1) as executor:
        print(executor.submit(scaled).result(), executor.submit(Counter().next).result(), end=" ")
        factor = 10
        print(executor.submit(scaled).result(), executor.submit(Counter().next).result(), end=" ")
        print(type(executor.submit(Counter).result()) is Counter, flush=True)

if __name__ == "__main__":
    for outer in ("fork", "spawn", "forkserver"):
        process = polyexec.get_context(outer).Process(target=work)
        process.start()
        process.join()
"""


def test_what_is_set_on_a_class_in_a_worker_stays(program: Runner) -> None:
    assert program.lines(HEAD + STATE) == [
        "loaded",
        "[1, 2, 3, 4]",
        "('loaded', 4)",
        "('loaded', 4)",
        "1",
        "2",
        "['loaded', 'loaded']",
    ]


def test_a_result_changes_no_class(program: Runner) -> None:
    assert program.lines(HEAD + RESULTS) == [
        "[0, 1, 2] True False 1000 real",
        "True True",
        "caught 0",
        "caught within",
    ]


def test_classes_of_all_kinds_travel(program: Runner) -> None:
    assert program.lines(HEAD + KINDS) == [
        "('csv', 3)",
        "(1, 2)",
        refusal(),
        "(True, 2)",
        "(<Permission.ALL: 3>, <Permission.ALL: 3>, True, 'none')",
        "True",
        "(Pair(left=3, right=4), Pair(left=1, right=2), {'name': 'x'}, 1)",
        "4",
        "r",
        "EUR",
        "True True",
    ]


def refusal() -> str:
    """Return the error of who sets what a class has no slot for."""
    text = "'Slotted' object has no attribute 'other'"
    if sys.version_info >= (3, 13):
        text += " and no __dict__ for setting new attributes"
    return repr(AttributeError(text))


def test_what_a_function_is_bound_to_and_has_as_a_global_is_one(program: Runner) -> None:
    assert program.lines(HEAD + BOUND) == [
        "[True, (True, True), True, (True, True)]",
        "[(1, 1), (2, 2)]",
        "6 [1, 2, 3]",
        "[1, 1, 2, 1]",
        "[11, 12, 113, 14]",
        "[1, 2, 2, 3]",
    ]


@pytest.mark.parametrize("method", LOCAL)
def test_pickles_in_workers_find_classes_by_name(program: Runner) -> None:
    assert program.lines(HEAD + NAMES.replace("TIMEOUT", str(PATIENCE))) == ["[0, 1]", "1", "True"]


def test_forked_workers_use_locks_wherever_they_are(program: Runner) -> None:
    if program.method != "fork":
        pytest.skip("others inherit nothing")
    assert program.lines(HEAD + LOCKS) == ["1", "2", "1", "2", "5"]


def test_a_class_is_as_it_was_when_who_uses_it_was_submitted(program: Runner) -> None:
    assert program.lines(HEAD + REBOUND) == [
        str([factor for factor in (1, 2, 1, 2) for _ in range(4)]),
        "[{1}, {2}]",
        "km km km m m m ft ft ft m m m ",
        "mm",
        "(2, 'km')",
        "patched",
        "patched",
    ]


def test_a_child_of_the_program_sends_what_the_program_would(program: Runner) -> None:
    assert program.lines(HEAD + CHILD) == ["1 1 10 20 True"] * 3
