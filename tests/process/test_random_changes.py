"""A main module that changes at random between tasks: each finds all as it was when submitted."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from process.programs import Runner

#: Calls functions in workers and here, and prints where that differs.
PROGRAM = """
import dataclasses
import enum
import functools
import random
import sys
import polyexec

number, things, text = 0, [0], "s"

class Animal:
    legs, names = 0, [0]

    def sound(self):
        return "sound", self.legs, self.names, number

    @classmethod
    def count(cls):
        return "count", cls.legs, things

    @staticmethod
    def fixed():
        return "fixed", text

    @property
    def both(self):
        return "both", self.count(), self.fixed()

class Dog(Animal):
    size = 1

    @classmethod
    def puppy(cls):
        return Puppy()

    def sound(self):
        return "dog", super().sound(), self.size, name_all()

class Puppy(Dog):
    def again(self):
        return Puppy().sound()

class Mode(enum.Enum):
    ON = 1

    def describe(self):
        return "mode", number, Animal.legs

class Meta(type):
    def tell(cls):
        return "tell", text, cls.value

class Told(metaclass=Meta):
    value = 0

@dataclasses.dataclass
class Point:
    x: int = 0

    def scaled(self):
        return self.x * number, self.unit

Point.unit = "m"

def name_all():
    return "all", number, things

def classes():
    return name_all(), Animal.legs, Animal.names, Dog().both, Dog.puppy().again()

def others():
    return Mode.ON.describe(), Told.tell(), Point(3).scaled(), pet.sound()

def enclosing(held):
    def inner():
        return "inner", held, name_all(), Animal.legs
    return inner

enclosed = enclosing(1)
partial = functools.partial(lambda held: ("partial", held, text, Dog.size), 5)

def indirect():
    return enclosed(), partial(), chosen()

def one():
    return "one", text

def other():
    return "other", Animal.legs

chosen = one

def logged(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        return "logged", fn(*args), text
    return wrapper

@logged
def decorated():
    return number, Animal.count()

def call(fn):
    return "call", fn()

def sound_of(animal):
    return animal.sound()

def indexed(index):
    return index, classes(), indirect()

pet = Animal()
original = Animal.sound

def patch(held):
    def sound(self):
        return "patched", self.legs, number, held
    return sound

def change(rng):
    global number, things, text, enclosed, partial, chosen, pet
    new = rng.randrange(1000)
    what = rng.randrange(13)
    if what == 0:
        number = new
    elif what == 1:
        things = [new]
    elif what == 2:
        text = str(new)
    elif what == 3:
        Animal.legs = new
    elif what == 4:
        Animal.names = [new]
    elif what == 5:
        Dog.size = new
    elif what == 6:
        enclosed = enclosing(new)
    elif what == 7:
        partial = functools.partial(partial.func, new)
    elif what == 8:
        chosen = rng.choice([one, other, name_all])
    elif what == 9:
        Animal.sound = rng.choice([original, patch(new)])
    elif what == 10:
        Told.value = Point.unit = new
    elif what == 11:
        pet = rng.choice([Animal, Dog])()
        pet.legs = new
    elif "legs" in vars(Dog):
        del Dog.legs
    else:
        Dog.legs = new

def play(rng, executor, pool):
    fns = [name_all, classes, others, indirect, decorated, one]
    pending = [(one(), executor.submit(one).result), (one(), pool.apply_async(one).get)]
    for _ in range(60):
        for _ in range(rng.randrange(3)):
            change(rng)
        fn, animal, way = rng.choice(fns), rng.choice([Animal, Puppy])(), rng.randrange(6)
        if way == 0:
            pending.append((call(fn), executor.submit(call, fn).result))
        elif way == 1:
            pending.append((animal.sound(), executor.submit(animal.sound).result))
        elif way == 2:
            pending.append((sound_of(animal), executor.submit(sound_of, animal).result))
        elif way == 3:
            pending.append((fn(), pool.apply_async(fn).get))
        elif way == 4:
            expected = list(map(indexed, range(3)))
            outcomes = executor.map(indexed, range(3), chunksize=rng.choice([1, 2]))
            pending.append((expected, functools.partial(list, outcomes)))
        else:
            pending.append((fn(), executor.submit(fn).result))
        if rng.random() < 0.4 or way == 4:
            yield from pending
            pending.clear()
    yield from pending

if __name__ == "__main__":
    for seed in map(int, sys.argv[1:]):
        # What only an object leads to that forked workers inherit is as it was then.
        pet = Animal()
        ctx = polyexec.get_context(METHOD)
        with ctx, ctx.Executor(1) as executor, ctx.Pool(1) as pool:
            for step, (expected, get) in enumerate(play(random.Random(seed), executor, pool)):
                expected, got = repr(expected), repr(get())
                if got != expected:
                    print(f"seed {seed}, step {step}: {expected}, but {got}")
"""


def test_each_task_finds_all_as_it_was_when_it_was_submitted(program: Runner) -> None:
    done = program.run(sys.executable, program.write(PROGRAM), *map(str, range(4)))
    assert (done.stdout, done.stderr) == ("", "")
