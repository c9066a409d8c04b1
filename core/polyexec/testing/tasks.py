"""The kit's tasks: importable, so that any worker can run them."""

from __future__ import annotations

import contextvars
import hashlib
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from polyexec.testing._gate import Address, pass_gate

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyexec.sharing import Shared

__all__ = ["pass_gate"]


class PickyError(Exception):
    """An exception whose `__init__` takes other arguments than its `args`."""

    def __init__(self, what: str, where: int) -> None:
        super().__init__(f"{what} at {where}")
        self.what = what
        self.where = where


class StubbornError(Exception):
    """An exception that can't be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock: object = threading.Lock()


class TrapError(Exception):
    """An exception that pickles, but does not unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_trap, ("trap",))


class Trap:
    """An object that pickles, but does not unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_trap, ("trap",))


def _trap(text: str) -> NoReturn:
    raise ValueError(f"{text} sprang while unpickling")


def identity(value: Any) -> Any:
    """Return *value*."""
    return value


def describe(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments."""
    return args, kwargs


def square(number: int) -> int:
    """Return the square of *number*."""
    return number * number


def fail(text: str) -> NoReturn:
    """Raise ValueError."""
    raise ValueError(text)


def fail_on(bad: int, number: int) -> int:
    """Return *number*, or raise ValueError if it is the *bad* one."""
    if number == bad:
        raise ValueError(f"bad {number}")
    return number


def fail_pickily() -> NoReturn:
    """Raise an exception that plain pickling can't rebuild."""
    raise PickyError("itch", 7)


def fail_stubbornly() -> NoReturn:
    """Raise an exception that can't be pickled."""
    raise StubbornError("stubborn as a mule")


def fail_with_a_trap() -> NoReturn:
    """Raise an exception that can't be unpickled."""
    raise TrapError("trapped")


def fail_with_a_cause() -> NoReturn:
    """Raise RuntimeError, caused by KeyError."""
    raise RuntimeError("no such thing") from KeyError("missing")


def fail_with_a_note(note: str) -> NoReturn:
    """Raise ValueError with a note."""
    error = ValueError("noted")
    error.add_note(note)  # type: ignore[attr-defined,unused-ignore]  # from Python 3.11
    raise error


def exit_by_exception(code: int) -> NoReturn:
    """Raise SystemExit."""
    sys.exit(code)


def interrupt() -> NoReturn:
    """Raise KeyboardInterrupt."""
    raise KeyboardInterrupt


def make_lock() -> Any:
    """Return what can't be pickled."""
    return threading.Lock()


def make_trap() -> Trap:
    """Return what can't be unpickled."""
    return Trap()


def die(code: int) -> NoReturn:
    """End this very process, without a word."""
    os._exit(code)


def be_killed() -> None:
    """End this very process by SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly:
    """Kills the process that unpickles it."""

    def __reduce__(self) -> tuple[Callable[[int], NoReturn], tuple[int]]:
        return (die, (9,))


def stop_this_process() -> None:
    """Stop this very process, so that it does nothing more, and does not end either."""
    os.kill(os.getpid(), signal.SIGSTOP)


def hold_the_interpreter() -> None:
    """Run for years in one call that lets no other thread run, and sees no signal."""
    sum(itertools.repeat(1))


def start_child(address: Address) -> None:
    """Start a process of one's own, pass its number through the gate, and wait for it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    pass_gate(address, str(child.pid))
    child.wait()


def do_as_told(address: Address, name: str = "") -> str:
    """Wait at a gate; raise ValueError or OSError, or die, if the answer says so."""
    answer = pass_gate(address, name)
    if answer == "raise":
        raise ValueError("told to")
    if answer == "raise-os":
        raise OSError("told to")
    if answer == "die":
        os._exit(3)
    return answer


def read_variable(variable: contextvars.ContextVar[str]) -> str:
    """Return the value of a context variable."""
    return variable.get("unset")


tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


def read_tenant(*_: object) -> str:
    """Return the value of this module's context variable."""
    return tenant.get()


def take_over(name: str) -> str:
    """Set this module's context variable, and return what it was before."""
    before = tenant.get()
    tenant.set(name)
    return before


def log(logger: str, level: int, *messages: Any) -> None:
    """Log each of *messages*, an argument of a format."""
    for message in messages:
        logging.getLogger(logger).log(level, "told %s", message)


def log_error(logger: str, text: str) -> None:
    """Log an exception."""
    try:
        fail(text)
    except ValueError:
        logging.getLogger(logger).exception("it failed")


def log_and_die(logger: str, *messages: Any) -> None:
    """Log, and end this very process."""
    log(logger, logging.WARNING, *messages)
    os._exit(3)


def warn(text: str) -> None:
    """Warn."""
    warnings.warn(text, UserWarning, stacklevel=1)


def write_file(path: str, text: str) -> None:
    """Write *text* to a file."""
    Path(path).write_text(text, encoding="utf-8")


def sha256sum(path: str) -> str:
    """Return the line that `sha256sum` prints for a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:  # noqa: PTH123 - a path that isn't UTF-8 stays as it is
        while block := file.read(1 << 20):
            digest.update(block)
    return f"{digest.hexdigest()}  {path}"


_initialized: str | None = None


def initialize(value: str) -> None:
    """Set a variable of this module, in the worker."""
    global _initialized  # noqa: PLW0603 - as initializers do
    _initialized = value


def initialized() -> str | None:
    """Return what `initialize` set in this worker."""
    return _initialized


# -- targets of processes ------------------------------------------------------------------------


def leave(code: Any) -> None:
    """Exit with *code*."""
    sys.exit(code)


def put(queue: Any, *items: Any) -> None:
    """Put *items* into a queue."""
    for item in items:
        queue.put(item)


def get_and_finish(queue: Any, results: Any, count: int) -> None:
    """Take *count* items from a joinable queue, and mark each as done."""
    for _ in range(count):
        results.put(queue.get())
        queue.task_done()


def send(connection: Any, *objects: Any) -> None:
    """Send *objects*, and close the connection."""
    for obj in objects:
        connection.send(obj)
    connection.close()


def echo(connection: Any) -> None:
    """Send back what comes, until that is None."""
    # Not until the other end closes: where children inherit everything, they hold that as well.
    while (obj := connection.recv()) is not None:
        connection.send(obj)


def add_under_lock(value: Any, lock: Any, times: int) -> None:
    """Add 1 to a shared value, *times* over, in two steps that only the lock holds together."""
    for _ in range(times):
        with lock:
            before = value.value
            value.value = before + 1


def increment_all(array: Any) -> None:
    """Add 1 to each element of a shared array."""
    with array.get_lock():
        for place in range(len(array)):
            array[place] += 1


def wait_and_report(event: Any, queue: Any) -> None:
    """Wait for an event and report it."""
    event.wait()
    queue.put("set")


def report_family(context: Any, queue: Any) -> None:
    """Report the names of this process and of its parent."""
    queue.put((context.current_process().name, context.parent_process().name))


class Owner:
    """Has a process that runs a method of its own."""

    def __init__(self, context: Any, results: Any) -> None:
        self.results = results
        self.process: Any = context.Process(target=self.report)

    def report(self) -> None:
        """Report the name of the process."""
        self.results.put(self.process.name)


def meet(barrier: Any, queue: Any) -> None:
    """Wait at a barrier, and report one's place."""
    queue.put(barrier.wait())


def fill(shared: Any, key: Any, value: Any) -> None:
    """Store into a shared dict."""
    shared[key] = value


def total_of_shared(handles: list[Shared[list[int]]]) -> int:
    """Return the sum of the numbers in the first shared list."""
    return sum(handles[0].value)
