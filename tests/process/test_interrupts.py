"""Ctrl-C wherever it may strike: who catches it can go on with the executor."""

from __future__ import annotations

import concurrent.futures
import ctypes
import itertools
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from polyexec.interrupts import Interruptible, Uninterrupted
from polyexec.waiting import Condition, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    Act = Callable[[polyexec.Executor], Any]

PATIENCE = 30.0

#: As Ctrl-C does, and unlike `signal.raise_signal`, it leaves it to the interpreter when to look.
send_signal = ctypes.PyDLL(None)["raise"] if sys.platform != "win32" else signal.raise_signal


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt, whatever this process was started with."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def struck_at(place: int, act: Callable[[], Any]) -> str | None:
    """Press Ctrl-C as *act* comes to the *place*-th line of ours; return which, None if it ends."""
    struck: str | None = None
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines, struck
        if "polyexec" not in frame.f_code.co_filename:
            return None
        if event == "line":
            lines += 1
            if lines == place:
                struck = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                sys.settrace(None)
                (_,) = map(send_signal, (signal.SIGINT,))  # no call, after which it would look here
                return None
        return trace

    before = sys.gettrace()
    with suppress(KeyboardInterrupt):
        try:
            sys.settrace(trace)
            act()
        finally:
            sys.settrace(before)
    return struck


def submit(executor: polyexec.Executor) -> None:
    executor.submit(abs, -1)


def submit_and_wait(executor: polyexec.Executor) -> None:
    executor.submit(abs, -1).result()


def submit_behind_others(executor: polyexec.Executor) -> None:
    futures: list[Any] = [executor.submit(time.sleep, 0.002) for _ in range(4)]
    futures.append(executor.submit(abs, -1))


def cancel(executor: polyexec.Executor) -> None:
    futures = [executor.submit(time.sleep, 0.002) for _ in range(4)]
    futures[-1].cancel()


def read_a_map(executor: polyexec.Executor) -> None:
    list(executor.map(abs, range(2)))


def is_at_rest(executor: polyexec.Executor) -> bool:
    ledger = executor._ledger
    return not (ledger.unfinished or ledger.settling or ledger._feeding)


# Where it strikes as an object is dropped, Python tells of it and goes on.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("method", ["thread", "fork", "zmq"])
@pytest.mark.parametrize("act", [submit, submit_and_wait, submit_behind_others, cancel, read_a_map])
@pytest.mark.parametrize("bound", [None, 1], ids=["unbounded", "bounded"])
def test_an_executor_goes_on_after_ctrl_c(method: str, act: Act, bound: int | None) -> None:
    with polyexec.get_context(method).Executor(2, max_pending=bound) as executor:
        assert executor.submit(abs, -1).result(PATIENCE) == 1
        place, missed = 0, 0
        # By steps, for there are some thousand lines; each run strikes others.
        step = 1 if act is submit else 7
        while missed < 2:
            place += step
            struck = struck_at(place, partial(act, executor))
            missed += struck is None
            deadline = time.monotonic() + PATIENCE
            try:
                assert [executor.submit(abs, -each).result(PATIENCE) for each in range(3)] == [
                    0,
                    1,
                    2,
                ]
            except concurrent.futures.TimeoutError:
                pytest.fail(f"it hangs since Ctrl-C at {struck}")
            while not is_at_rest(executor):
                assert time.monotonic() < deadline, f"not at rest since Ctrl-C at {struck}"
                time.sleep(0.0005)


def test_a_condition_variable_is_as_it_was_wherever_ctrl_c_strikes() -> None:
    changed = Condition()
    woken = threading.Semaphore(0)

    def wait() -> None:
        with changed:
            changed.wait_for(lambda: False, 0)
            changed.wait(0.001)
            changed.notify()

    def be_woken() -> None:
        with changed:
            changed.wait_for(partial(woken.acquire, blocking=False), PATIENCE)

    for place in itertools.count(1):
        other = threading.Thread(target=be_woken, daemon=True)
        other.start()
        struck = struck_at(place, wait)
        with ThreadPoolExecutor(1) as another:
            taken = another.submit(changed.acquire, timeout=PATIENCE).result()
            assert taken, f"somebody holds it since Ctrl-C at {struck}"
            another.submit(changed.release).result()
        woken.release()
        with changed:
            changed.notify()
        other.join(PATIENCE)
        assert not other.is_alive(), f"somebody is not woken since Ctrl-C at {struck}"
        if struck is None:
            break


@pytest.mark.parametrize("act", [Condition.wait, Condition.wait_for])
def test_ctrl_c_strikes_who_waits_on_a_condition_variable(act: Callable[..., Any]) -> None:
    changed = Condition()
    arguments = [lambda: False] if act is Condition.wait_for else []

    def strike() -> None:
        with changed:  # it has been let go of, so somebody waits
            os.kill(os.getpid(), signal.SIGINT)

    begin = time.monotonic()
    with changed:
        threading.Thread(target=strike, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            act(changed, *arguments, timeout=PATIENCE)
        assert not changed._waiters
    assert time.monotonic() - begin < PATIENCE


def test_an_event_wakes_all_who_wait_for_it() -> None:
    event = Event()
    assert not event.wait(0)
    with ThreadPoolExecutor(3) as pool:
        waits = [pool.submit(event.wait, PATIENCE) for _ in range(3)]
        event.set()
        assert all(wait.result() for wait in waits)
    assert event.is_set()
    assert event.wait()


def test_ctrl_c_strikes_behind_a_block_that_puts_it_off() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt), Uninterrupted():  # noqa: PT012 - what it is about
        signal.raise_signal(signal.SIGINT)
        done.append("all")
    assert done == ["all"]


def test_within_such_a_block_it_strikes_where_that_is_allowed() -> None:
    done: list[str] = []
    with Uninterrupted():
        with pytest.raises(KeyboardInterrupt), Interruptible():
            signal.raise_signal(signal.SIGINT)
        done.append("caught")
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), Interruptible():
            done.append("never")
        with Uninterrupted():
            done.append("inner")
    assert done == ["caught", "inner"]


def test_a_handler_of_the_programs_own_is_called_and_stays() -> None:
    came: list[int] = []

    def own(number: int, _: object) -> None:
        came.append(number)

    before = signal.signal(signal.SIGINT, own)
    with Uninterrupted():
        signal.raise_signal(signal.SIGINT)
        assert came == []
    assert came == [signal.SIGINT]
    assert signal.signal(signal.SIGINT, before) is own


def test_where_ctrl_c_is_ignored_nothing_changes() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Uninterrupted(), Interruptible():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_another_thread_changes_no_handler() -> None:
    seen: list[Any] = []

    def look() -> None:
        with Uninterrupted(), Interruptible():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_a_child_that_is_forked_within_such_a_block_has_ctrl_c_as_it_was() -> None:
    with Uninterrupted():
        pid = os.fork()
        if not pid:
            os._exit(signal.getsignal(signal.SIGINT) is not signal.default_int_handler)
    assert os.waitpid(pid, 0)[1] == 0
