"""What the tutorial's processes and workers run: importable, as it must be for spawned ones."""

from __future__ import annotations

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
