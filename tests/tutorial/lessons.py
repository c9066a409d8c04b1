"""What the tutorial's processes and workers run: importable, as it must be for spawned ones."""

from __future__ import annotations

import ctypes
import time
import urllib.request
from typing import Any


def greet(name: str, said: Any) -> None:
    """Say hello, where the parent hears it."""
    said.put(f"hello {name}")


def report(said: Any) -> None:
    """Tell the name of the process."""
    import polyexec

    said.put(polyexec.current_process().name)


def answer(connection: Any) -> None:
    """Send an answer, and close the connection."""
    connection.send([42, None, "hello"])
    connection.close()


def say(lock: Any, number: int, said: Any) -> None:
    """Say a number while holding a lock."""
    with lock:
        said.put(number)


def change(number: Any, array: Any) -> None:
    """Change a shared value and a shared array."""
    number.value = 3.1415927
    for place in range(len(array)):
        array[place] = -array[place]


def fill(mapping: Any, sequence: Any) -> None:
    """Fill a manager's dict, and reverse its list."""
    mapping[1] = "1"
    mapping["2"] = 2
    mapping[0.25] = None
    sequence.reverse()


def deposit(balance: Any, lock: Any) -> None:
    """Add to a balance, one unit at a time."""
    for _ in range(100):
        with lock:
            balance.value += 1


def produce(queue: Any) -> None:
    """Put five items, and a mark that there are no more."""
    for item in range(5):
        queue.put(item)
    queue.put(None)


def double_from(queue: Any, results: Any) -> None:
    """Double what comes through a queue until the mark."""
    while (item := queue.get()) is not None:
        results.put(2 * item)


def square(number: int) -> int:
    """Return the square."""
    return number * number


def slow_square(number: int, seconds: float) -> int:
    """Return the square, after a while."""
    time.sleep(seconds)
    return number * number


def is_prime(number: int) -> bool:
    """Return whether a number is prime, as concurrent.futures' documentation has it."""
    if number < 2:
        return False
    if number % 2 == 0:
        return number == 2
    return all(number % divisor for divisor in range(3, int(number**0.5) + 1, 2))


def load(url: str, timeout: float) -> bytes:
    """Return the page at *url*."""
    with urllib.request.urlopen(url, timeout=timeout) as page:
        content: bytes = page.read()
        return content


class Point(ctypes.Structure):
    """A point that processes share, as in the documentation of sharedctypes."""

    _fields_ = (("x", ctypes.c_double), ("y", ctypes.c_double))


def modify(number: Any, text: Any, points: Any) -> None:
    """Square, shout, and square."""
    number.value **= 2
    text.value = text.value.upper()
    for point in points:
        point.x **= 2
        point.y **= 2


def send_name(connection: Any, times: int) -> None:
    """Send the name of the process a few times."""
    import polyexec

    for time_around in range(times):
        connection.send((time_around, polyexec.current_process().name))
    connection.close()


def calculate(tasks: Any, done: Any) -> None:
    """Work on the functions that come through a queue, until STOP."""
    for function, arguments in iter(tasks.get, "STOP"):
        done.put(function(*arguments))


def consume(queue: Any, seen: Any) -> None:
    """Take items for ever, and say when each is done."""
    while True:
        seen.put(queue.get())
        queue.task_done()


def wait_for_turn(condition: Any, ready: Any, said: Any) -> None:
    """Wait until it is time."""
    with condition:
        ready.put("waiting")
        condition.wait_for(lambda: True, timeout=60)
    said.put("my turn")


def write_shared(name: str) -> None:
    """Write into a shared memory block of that name."""
    from polyexec.shared_memory import SharedMemory

    block = SharedMemory(name=name)
    assert block.buf is not None
    block.buf[0] = 42
    block.close()
