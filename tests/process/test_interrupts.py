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
from core.fakes import await_that
from polyexec.interrupts import Interruptible, Uninterrupted, strike
from polyexec.waiting import Condition, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    Act = Callable[[polyexec.Executor], Any]

# Where it strikes as an object is dropped, Python tells of it and goes on.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

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


def struck_at(
    place: int, act: Callable[[], Any], signum: signal.Signals = signal.SIGINT
) -> str | None:
    """Press Ctrl-C as *act* comes to the *place*-th line of ours; return which, None if it ends.

    Another signal than that of Ctrl-C is *signum*.
    """
    struck: str | None = None
    lines, pid = 0, os.getpid()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines, struck
        if "polyexec" not in frame.f_code.co_filename or os.getpid() != pid:
            return None
        if event == "line":
            lines += 1
            if lines == place:
                struck = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                sys.settrace(None)
                (_,) = map(send_signal, (signum,))  # no call, after which it would look here
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


def stop(executor: polyexec.Executor) -> None:
    future = executor.submit(time.sleep, 0.005)
    if "kill_running" in executor.context.capabilities:
        future.cancel(running=True)


def read_a_map(executor: polyexec.Executor) -> None:
    list(executor.map(abs, range(2)))


def is_at_rest(executor: polyexec.Executor) -> bool:
    ledger = executor._ledger
    return not (ledger.unfinished or ledger.settling or ledger._feeding)


@pytest.mark.parametrize("method", ["thread", "fork", "zmq"])
@pytest.mark.parametrize(
    "act", [submit, submit_and_wait, submit_behind_others, cancel, stop, read_a_map]
)
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


@pytest.mark.parametrize("options", [{}, {"chunksize": 2, "ordered": False}, {"buffersize": 3}])
def test_ctrl_c_costs_a_map_no_more_than_what_is_just_submitted_or_handed_over(
    options: dict[str, Any],
) -> None:
    inputs = [[number] for number in range(6)]  # not plain, so that there is much to unpickle
    got: list[list[int]] = []

    def read(results: Any) -> None:
        for result in results:
            got.append(result)  # noqa: PERF402 - what came before Ctrl-C counts

    with polyexec.get_context("fork").Executor(2) as executor:
        for place in itertools.count(1):
            got.clear()
            results = executor.map(sorted, inputs, **options)
            struck = struck_at(place, partial(read, results))
            reader = threading.Thread(target=read, args=(results,), daemon=True)
            reader.start()
            reader.join(PATIENCE)
            assert not reader.is_alive(), f"it hangs since Ctrl-C at {struck}"
            lost = len(inputs) - len(got)
            most = 0 if struck is None else options.get("chunksize", 1)
            assert lost <= most, f"lost since Ctrl-C at {struck}"
            if struck is None:
                break


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

    def press() -> None:
        with changed:  # it has been let go of, so somebody waits
            os.kill(os.getpid(), signal.SIGINT)

    begin = time.monotonic()
    with changed:
        threading.Thread(target=press, daemon=True).start()
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


def test_a_block_that_could_not_end_puts_nothing_off() -> None:
    def leave_behind() -> None:
        Uninterrupted().__enter__()  # as where another signal's handler raises in front of the end

    leave_behind()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    leave_behind()
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt), Uninterrupted():  # noqa: PT012 - what it is about
        signal.raise_signal(signal.SIGINT)
        done.append("all")
    assert done == ["all"]


@pytest.mark.parametrize("then", [signal.SIG_DFL, signal.SIG_IGN, lambda *_: None])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("raises", [False, True])
def test_what_a_handler_makes_of_ctrl_c_stays(
    then: Any, signum: signal.Signals, *, raises: bool
) -> None:
    def handle(*_: object) -> None:
        signal.signal(signal.SIGINT, then)
        if raises:
            raise KeyboardInterrupt

    def act() -> None:
        with Uninterrupted():
            strike()
            Event().wait(0)

    terminate = signal.getsignal(signal.SIGTERM)
    for place in itertools.count(1):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signum, handle)
        struck = struck_at(place, act, signum)
        if struck is None:
            break
        assert signal.getsignal(signal.SIGINT) is then, f"lost since a signal at {struck}"
    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="3.10 lets Ctrl-C strike as a function returns what it took"
)
def test_ctrl_c_costs_no_message() -> None:
    ours, others = polyexec.get_context("thread").Pipe()
    lane: Any = ours
    received: list[Any] = []

    def receive() -> None:
        received.append(lane._inward.get().value)

    for place in itertools.count(1):
        others.send(place)
        struck = struck_at(place, receive)
        if len(received) < place:
            assert ours.poll(0), f"lost since Ctrl-C at {struck}"
            receive()
        assert received[-1] == place
        if struck is None:
            break


def test_every_callback_is_called_though_ctrl_c_strikes_one() -> None:
    future: polyexec.Future[int] = polyexec.Future()
    called: list[str] = []

    def press(_: object) -> None:
        called.append("first")
        signal.raise_signal(signal.SIGINT)

    future.add_done_callback(press)
    future.add_done_callback(lambda _: called.append("second"))
    with pytest.raises(KeyboardInterrupt):
        future.set_result(1)
    assert called == ["first", "second"]


def test_a_pools_result_is_ready_wherever_ctrl_c_strikes() -> None:
    for place in itertools.count(1, 5):
        pool: Any = polyexec.get_context("thread").Pool(1)
        gate = threading.Event()
        pool.apply_async(gate.wait)
        result = pool.apply_async(abs, (-1,), callback=lambda _: None)
        struck = struck_at(place, pool.terminate)
        gate.set()
        pool.terminate()
        pool.join()
        result.wait(PATIENCE)
        assert result.ready(), f"it is never ready since Ctrl-C at {struck}"
        if struck is None:
            break


@pytest.mark.parametrize("method", ["thread", "fork", "zmq"])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_handler_of_ctrl_c_may_use_the_executor(method: str, *, fresh: bool) -> None:
    def use(*_: object) -> None:
        used.append(executor.submit(abs, -2).result(PATIENCE))

    def act() -> None:
        executor.submit(abs, -1).result(PATIENCE)

    used: list[int] = []
    executor = polyexec.get_context(method).Executor(2)
    for place in itertools.count(3, 31 if fresh else 7):
        if fresh:
            executor.shutdown()
            executor = polyexec.get_context(method).Executor(2)
        else:
            act()
        signal.signal(signal.SIGINT, use)
        struck = struck_at(place, act)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if struck is None:
            break
    executor.shutdown()
    assert used
    assert set(used) == {2}


def test_notify_wakes_though_a_handler_notifies_or_raises_within() -> None:
    def handle(*_: object) -> None:
        with changed:
            changed.notify_all()
        if place % 2:
            raise KeyboardInterrupt

    def all_wait(changed: Condition) -> bool:
        return len(changed._waiters) == 2

    before = signal.signal(signal.SIGTERM, handle)
    for place in itertools.count(1):
        changed = Condition()
        woken: list[bool] = []

        def wait(changed: Condition = changed, woken: list[bool] = woken) -> None:
            with changed:
                woken.append(changed.wait(PATIENCE))

        waits = [threading.Thread(target=wait) for _ in range(2)]
        for each in waits:
            each.start()
        await_that(partial(all_wait, changed))
        with changed:
            struck = struck_at(place, changed.notify_all, signal.SIGTERM)
        with changed:
            changed.notify_all()
        for each in waits:
            each.join()
        assert woken == [True, True], f"somebody slept on since a signal at {struck}"
        if struck is None:
            break
    signal.signal(signal.SIGTERM, before)


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
