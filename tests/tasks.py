"""Tasks, exceptions and objects for other processes: importable there as `tasks`."""

from __future__ import annotations

import atexit
import functools
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any, NoReturn

import polyexec
from polyexec.testing import tasks as kit_tasks


def double(value: Any) -> Any:
    """Return twice *value*."""
    return value * 2


def fail_with(error: BaseException) -> NoReturn:
    """Raise *error*."""
    raise error


def pid() -> int:
    """Return the process that runs the task."""
    return os.getpid()


def make(kind: str) -> Any:
    """Return a new object of the class of that name."""
    return globals()[kind]()


def fail_as(kind: str) -> NoReturn:
    """Raise a new exception of the class of that name."""
    raise globals()[kind]


def fail_from(outer: str, inner: str) -> NoReturn:
    """Raise one exception of this module because of another."""
    try:
        fail_as(inner)
    except BaseException as error:
        raise globals()[outer] from error


def fail_within(outer: str, inner: str) -> NoReturn:
    """Raise one exception of this module while another is handled."""
    try:
        fail_as(inner)
    finally:
        raise globals()[outer]


class PlainError(Exception):
    """An exception like any other."""


class PickyError(Exception):
    """An exception whose `__init__` needs several arguments, which are not its `args`."""

    def __init__(self, what: str = "disk", where: int = 7, *, why: str = "full") -> None:
        super().__init__(f"{what} {where} is {why}")
        self.what = what
        self.where = where
        self.why = why


class NeedyError(Exception):
    """An exception that can't be made without two arguments."""

    def __init__(self, what: str, where: int) -> None:
        super().__init__(f"{what} at {where}")
        self.what, self.where = what, where


class StubbornError(Exception):
    """An exception that can't be pickled, for it holds a lock."""

    def __init__(self) -> None:
        super().__init__("stubborn")
        self.lock = threading.Lock()


class TrapError(Exception):
    """An exception that pickles and does not unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (spring, ("trap",))


class SpeechlessError(Exception):
    """An exception whose text can't be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class FalsyError(Exception):
    """An exception that counts as false."""

    def __bool__(self) -> bool:
        return False


class UndecidedError(Exception):
    """An exception that is neither true nor false."""

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")


class OddCauseError(Exception):
    """An exception whose class has other plans for a name of Python's."""

    __cause__ = 5  # type: ignore[assignment]


class KeywordError(Exception):
    """An exception that takes no positional arguments."""

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class Plain:
    """An object without a text of its own."""


class Trap:
    """An object that pickles and does not unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (spring, ("trap",))


class Exiting:
    """An object whose reducer calls sys.exit."""

    def __reduce__(self) -> NoReturn:
        raise SystemExit("in a reducer")


class ExitingError(Exception):
    """An exception whose reducer calls sys.exit."""

    def __reduce__(self) -> NoReturn:
        raise SystemExit("in a reducer")


def spring(text: str) -> NoReturn:
    """Raise, as part of unpickling."""
    raise ValueError(f"{text} sprang while unpickling")


_kept: list[Any] = []


def keep(queue: Any) -> None:
    """Keep *queue* for `put_in_kept`; an initializer."""
    _kept.append(queue)


def put_in_kept(item: Any) -> None:
    """Put *item* into the queue that `keep` was given."""
    _kept[-1].put(item)


def put_late_in_kept(address: Any) -> None:
    """Put into that queue what passes a gate while the queue's thread pickles it."""
    put_in_kept(_Late(address))


class _Late:
    """Arrives as "item", once it has passed the gate at *address*."""

    def __init__(self, address: Any) -> None:
        self._address = address

    def __reduce__(self) -> tuple[Any, ...]:
        kit_tasks.pass_gate(self._address)
        return str, ("item",)


def hold(lock: Any) -> None:
    """Take *lock*, and let it go."""
    with lock:
        pass


def call_with(argument: Any, function: Any) -> None:
    """Call *function* with *argument*."""
    function(argument)


def leave_with(go: Any, value: Any) -> NoReturn:
    """Exit with what *value* is once *go* is set."""
    go.wait()
    sys.exit(value.value)


def report_start_method(results: Any) -> None:
    """Report the default context."""
    results.put(polyexec.get_start_method())


class MuteError(Exception):
    """An exception that can't say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no comment")

    __repr__ = __str__


def _fail_mutely() -> NoReturn:
    raise MuteError


class MuteTrap:
    """Raises what can't say what it is when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_fail_mutely, ())


def leave_a_child_behind() -> str:
    """Fork, and have the child leave the task in its own way."""
    if os.fork() == 0:
        sys.exit(0)
    os.wait()
    return "parent"


def leave_unending(what: str) -> int:
    """Leave something that this process waits for as it ends; return its number."""
    if what == "a thread":
        threading.Thread(target=threading.Event().wait).start()
    elif what == "a process":
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,)).start()
    else:
        atexit.register(time.sleep, 1000)
    return os.getpid()


def leave_the_group() -> None:
    """Move this process to its parent's group, and wait for ever."""
    os.setpgid(0, os.getpgid(os.getppid()))
    threading.Event().wait()


class Sleeper:
    """Sleeps as it is unpickled where it was not made."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __reduce__(self) -> tuple[Any, ...]:
        return (_woken, (self.seconds, os.getpid()))


def _woken(seconds: float, pid: int) -> float:
    if os.getpid() != pid:
        threading.Event().wait(seconds)
    return seconds


def open_all() -> None:
    """Take every descriptor that is left, and fail for that; the error keeps them open."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    files = []
    while True:
        files.append(Path("/dev/null").open(encoding="utf-8"))  # noqa: SIM115 - as long as can be


def interpreter() -> dict[str, Any]:
    """Return what there is of a process, besides its numbers."""
    return {
        "argv": sys.argv,
        "directory": str(Path.cwd()),
        "environment": dict(os.environ),
        "flags": tuple(sys.flags),
        "modules": sorted(sys.modules),
        "path": sys.path,
        "streams": [stream and stream.fileno() for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "signals": [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGCHLD)],
        "threads": threading.active_count(),
    }


def default_workers(name: str) -> int:
    """Return how many workers an executor of that context has here, if not told."""
    import polyexec

    with polyexec.get_context(name).Executor() as executor:
        assert executor.submit(os.getpid).result() != os.getpid()
        return executor._max_workers


# -- what surrounds tasks --------------------------------------------------------------------------


def log_unpicklable(name: str) -> None:
    """Log a record whose argument and extra attribute can't be pickled."""
    lock = threading.Lock()
    logging.getLogger(name).warning("told %s", lock, extra={"extra": lock})


def log_trap(name: str) -> None:
    """Log a record whose argument can't be unpickled."""
    logging.getLogger(name).warning("told %s", kit_tasks.Trap())


def log_many(name: str, count: int) -> None:
    """Log *count* records."""
    for number in range(count):
        logging.getLogger(name).warning("many %d", number)


def log_from_a_thread(name: str) -> None:
    """Log in another thread."""
    thread = threading.Thread(target=kit_tasks.log, args=(name, logging.WARNING, "thread"))
    thread.start()
    thread.join()


def log_from_a_child(name: str) -> None:
    """Log in a forked child of this process, and wait until that has ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there may be threads
        child = os.fork()
    if child == 0:
        kit_tasks.log(name, logging.WARNING, "child")
        os._exit(0)
    os.waitpid(child, 0)


def use_multiprocessings_logger() -> bool:
    """Log to multiprocessing's logger; return whether it hands that on."""
    own = multiprocessing.get_logger()
    own.error("for multiprocessing only")
    return bool(own.propagate)


class TenantReader:
    """Reads a context variable in each of the ways in which a function may be bound."""

    def read(self) -> str:
        """Return its value."""
        return kit_tasks.read_tenant()

    def __call__(self) -> str:
        """Return its value."""
        return self.read()


def die_once(path: str) -> str:
    """Die the first time; then return the value of the kit's context variable."""
    if not Path(path).exists():
        Path(path).touch()
        os._exit(3)
    return kit_tasks.read_tenant()


def survive_first(path: str) -> None:
    """Die, unless this is the first time."""
    try:
        Path(path).touch(exist_ok=False)
    except FileExistsError:
        os._exit(3)


def cluster_within() -> tuple[str | None, int]:
    """Return the address of the cluster that this worker's executors are on, and a worker of it."""
    context: Any = polyexec.get_context("zmq")
    with context.Executor(1) as executor:
        return context.joining.address, executor.submit(os.getpid).result()


def trackers(count: int) -> set[int | None]:
    """Return the descriptors that so many threads have of the resource tracker."""
    found: set[int | None] = set()
    barrier = threading.Barrier(count)

    def look() -> None:
        barrier.wait()
        from multiprocessing import resource_tracker

        found.add(resource_tracker.getfd())

    threads = [threading.Thread(target=look) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def note_down(path: str, number: int, hard: int, address: tuple[str, int] | None) -> int:
    """Append *number* to a file, and return it; but *hard* waits at a gate, or is the death of us.

    It is open all the time, for that to be a matter of microseconds.
    """
    if number == hard and address is not None:
        kit_tasks.pass_gate(address)
    elif number == hard:
        os.kill(os.getpid(), signal.SIGKILL)
    os.write(_notes(path), b"%d\n" % number)
    return number


@functools.cache
def _notes(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def close_and_open(directory: str, number: int, closing: int) -> int:
    """Leave a file of that number; *closing* closes all else, and the next opens what it keeps."""
    Path(directory, str(number)).touch(exist_ok=False)
    if number == closing:
        os.closerange(3, 256)
    if number == closing + 1:
        for each in range(64):
            os.open(str(Path(directory, f"kept-{each}")), os.O_WRONLY | os.O_CREAT)
    return number
