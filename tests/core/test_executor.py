"""The Executor interface over small backends, and on threads where threads matter."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import (
    PATIENCE,
    FakeContext,
    InlineExecutor,
    IoExecutor,
    LateCondition,
    QueueingExecutor,
    RefusingExecutor,
    SpreadingExecutor,
    ends,
    fake,
    python,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

THREAD = "import polyexec, threading, time, sys, os; ctx = polyexec.get_context('thread')\n"


@pytest.fixture
def executor() -> Any:
    return fake(QueueingExecutor)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event that is set at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()


def _threads(max_workers: int = 1, **options: Any) -> Any:
    return polyexec.get_context("thread").Executor(max_workers, **options)


def _hold(running: threading.Event, gate: threading.Event) -> None:
    running.set()
    gate.wait(PATIENCE)


def _interrupt(code: str, seconds: float = 5.0) -> tuple[float, int, str]:
    """Run *code* until it prints, send it SIGINT; return the seconds to its end, code, stderr."""
    process = subprocess.Popen(
        [sys.executable, "-c", THREAD + textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=seconds)
    finally:
        process.kill()
        process.communicate()
    return time.monotonic() - begin, process.returncode, errors


# -- the interface -------------------------------------------------------------------------------


def test_an_executor_without_accept_and_stop_cannot_be_made() -> None:
    class _Half(polyexec.Executor):
        def stop(self, wait: bool) -> None:  # noqa: FBT001 - the interface's signature
            """Do nothing."""

    with pytest.raises(TypeError, match="accept"):
        _Half(FakeContext(InlineExecutor))  # type: ignore[abstract]  # the point


def test_an_inline_backend_needs_two_methods() -> None:
    with fake(InlineExecutor) as executor:
        assert executor.submit(pow, 2, 3).result() == 8
        assert list(executor.map(abs, [-1, -2])) == [1, 2]
    assert isinstance(executor, concurrent.futures.Executor)


def test_what_is_not_callable_is_refused_by_submit(executor: Any) -> None:
    with pytest.raises(TypeError, match="needs a callable, not 3"):
        executor.submit(3)


def test_submits_own_argument_is_positional_only(executor: Any) -> None:
    future = executor.submit(dict, fn=1, self=2)
    executor.run_all()
    assert future.result(0) == {"fn": 1, "self": 2}


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True])
def test_bad_sizes_are_refused(value: Any) -> None:
    for name in ("max_workers", "max_pending"):
        with pytest.raises((TypeError, ValueError), match=name):
            FakeContext(InlineExecutor).Executor(**{"max_workers": 1, name: value})


def test_a_task_that_accept_refuses_fails_alone() -> None:
    with fake(RefusingExecutor) as executor:
        future = executor.submit(int)
        assert isinstance(future.exception(0), OSError)
        assert executor.busy == 0


def test_a_base_exception_of_accept_is_raised_and_leaves_nothing_behind() -> None:
    executor = fake(RefusingExecutor)
    executor.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        executor.submit(int)
    ends(executor.shutdown)


def test_a_function_whose_attributes_raise_costs_no_place() -> None:
    class _Odd:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __call__(self) -> int:
            return 1

    executor = fake(InlineExecutor, max_pending=1)
    for _ in range(2):
        with contextlib.suppress(RuntimeError):
            ends(executor.submit, _Odd(), seconds=3)
    assert ends(executor.submit, int, seconds=3).result(PATIENCE) == 0


def test_contextvars_of_the_submitter_are_seen() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    variable.set(5)
    with _threads() as executor:
        assert executor.submit(variable.get).result(PATIENCE) == 5


def test_accept_is_called_by_several_threads_at_once() -> None:
    met = threading.Barrier(2)

    class _Meeting(InlineExecutor):
        def accept(self, task: polyexec.Task) -> None:
            met.wait(PATIENCE)
            super().accept(task)

    with fake(_Meeting) as executor, concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(executor.submit, int) for _ in range(2)]
        assert [future.result().result(PATIENCE) for future in futures] == [0, 0]


# -- callbacks and the I/O thread ----------------------------------------------------------------


def test_callbacks_do_not_run_on_the_io_thread(gate: threading.Event) -> None:
    ran_on: concurrent.futures.Future[Any] = concurrent.futures.Future()
    with fake(IoExecutor) as executor:
        future = executor.submit(gate.wait, PATIENCE)
        future.add_done_callback(lambda _: ran_on.set_result(threading.current_thread()))
        gate.set()
        assert ran_on.result(PATIENCE) is not executor.thread


def test_a_callback_that_blocks_holds_up_no_task(gate: threading.Event) -> None:
    go = threading.Event()
    with fake(IoExecutor) as executor:
        executor.submit(go.wait, PATIENCE).add_done_callback(lambda _: gate.wait(PATIENCE))
        go.set()
        assert executor.submit(int).result(PATIENCE) == 0
        gate.set()


def test_a_callback_may_wait_for_a_task_of_its_own_executor(gate: threading.Event) -> None:
    got: concurrent.futures.Future[int] = concurrent.futures.Future()
    with fake(IoExecutor) as executor:
        future = executor.submit(gate.wait, PATIENCE)
        future.add_done_callback(lambda _: got.set_result(executor.submit(int).result(PATIENCE)))
        gate.set()
        assert got.result(PATIENCE) == 0


def test_a_callback_may_shut_another_executor_down(gate: threading.Event) -> None:
    other_went, done = threading.Event(), threading.Event()

    def callback(_: Any) -> None:
        with fake(IoExecutor) as other:
            other.submit(other_went.wait, PATIENCE).add_done_callback(lambda _: None)
            other_went.set()
        done.set()

    executor = fake(IoExecutor)
    executor.submit(gate.wait, PATIENCE).add_done_callback(callback)
    gate.set()
    assert done.wait(3), "the callback hangs"
    ends(executor.shutdown)


def test_a_callback_may_use_a_pool_and_await(gate: threading.Event) -> None:
    done: list[Any] = []

    async def main() -> int:
        with fake(IoExecutor) as inner:
            value: int = await inner.submit(int, "2")
            return value

    def callback(_: Any) -> None:
        with FakeContext(IoExecutor).Pool(1) as pool:
            done.append(pool.apply_async(int, ("1",)).get(3))
        done.append(asyncio.run(asyncio.wait_for(main(), 3)))

    executor = fake(IoExecutor)
    executor.submit(gate.wait, PATIENCE).add_done_callback(callback)
    gate.set()
    ends(executor.shutdown)
    assert done == [1, 2]


def test_shutdown_waits_for_callbacks(gate: threading.Event) -> None:
    order: list[str] = []
    executor = fake(IoExecutor)
    future = executor.submit(gate.wait, PATIENCE)

    def callback(_: Any) -> None:
        never.wait(0.05)
        order.append("callback")

    never = threading.Event()
    future.add_done_callback(callback)
    gate.set()
    ends(executor.shutdown)
    order.append("shutdown")
    assert order == ["callback", "shutdown"]


# -- shutdown ------------------------------------------------------------------------------------


def test_shutdown_waits_for_what_was_accepted(gate: threading.Event) -> None:
    executor = _threads()
    futures = [executor.submit(gate.wait, PATIENCE) for _ in range(3)]
    gate.set()
    ends(executor.shutdown)
    assert all(future.result(0) for future in futures)


def test_shutdown_without_waiting_returns_and_the_tasks_run(gate: threading.Event) -> None:
    executor = _threads()
    future = executor.submit(gate.wait, PATIENCE)
    ends(executor.shutdown, wait=False)
    assert not future.done()
    gate.set()
    assert future.result(PATIENCE)


def test_a_last_task_that_ends_at_the_edge_of_a_slice_is_not_waited_for(executor: Any) -> None:
    executor.submit(int)
    ledger = executor._ledger
    ledger._all_ended = LateCondition(ledger.lock, executor.run_all)
    executor.shutdown()
    assert executor.stops == [True]


def test_shutdown_cancels_what_has_not_started_if_asked(gate: threading.Event) -> None:
    executor = _threads()
    running = threading.Event()
    first = executor.submit(_hold, running, gate)
    others = [executor.submit(int) for _ in range(3)]
    running.wait(PATIENCE)
    ends(executor.shutdown, wait=False, cancel_futures=True)
    assert all(other.cancelled() for other in others)
    gate.set()
    assert first.exception(PATIENCE) is None


def test_a_task_after_shutdown_is_refused_by_name() -> None:
    executor = fake(InlineExecutor)
    executor.shutdown()
    with pytest.raises(polyexec.ExecutorShutdownError, match="after shutdown"):
        executor.submit(int)
    with pytest.raises(RuntimeError):
        executor.map(int, ["1"])


def test_stop_is_called_when_the_last_task_has_ended(executor: Any) -> None:
    executor.submit(int)
    executor.shutdown(wait=False)
    assert executor.stops == []
    executor.run_all()
    assert executor.stops == [False]


def test_shutdown_may_be_called_again_with_wait(executor: Any) -> None:
    executor.shutdown(wait=False)
    executor.shutdown(wait=True)
    assert executor.stops[-1] is True


def test_a_second_shutdown_may_cancel(executor: Any) -> None:
    future = executor.submit(int)
    executor.shutdown(wait=False)
    ends(executor.shutdown, cancel_futures=True)
    assert future.cancelled()


def test_an_exception_in_a_callback_of_a_cancelled_task_does_not_stop_shutdown(
    executor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    futures = [executor.submit(int) for _ in range(5)]
    for future in futures:
        future.add_done_callback(lambda _: sys.exit("in a callback"))
    ends(executor.shutdown, cancel_futures=True)
    assert all(future.cancelled() for future in futures)
    assert caplog.records


@pytest.mark.parametrize("cancel", [False, True], ids=["finish", "cancel"])
@pytest.mark.parametrize("wait", [False, True], ids=["go", "wait"])
def test_every_task_accepted_around_a_shutdown_ends_once_and_late_ones_raise(
    *, wait: bool, cancel: bool
) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            _race_shutdown(wait=wait, cancel=cancel)
    finally:
        sys.setswitchinterval(before)


def _race_shutdown(*, wait: bool, cancel: bool) -> None:
    executor = _threads(2)
    told: list[int] = []
    begun = threading.Semaphore(0)

    def submit() -> tuple[list[Any], BaseException | None]:
        accepted: list[Any] = []
        while True:
            try:
                accepted.append(executor.submit(int))
                accepted[-1].add_done_callback(lambda _: told.append(1))
            except BaseException as error:  # noqa: BLE001 - returned
                return accepted, error
            begun.release()

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        submitters = [pool.submit(submit) for _ in range(3)]
        for _ in range(30):
            begun.acquire(timeout=PATIENCE)
        ends(executor.shutdown, wait=wait, cancel_futures=cancel)
        outcomes = [submitter.result(PATIENCE) for submitter in submitters]
    ends(executor.shutdown)
    accepted = [future for futures, _ in outcomes for future in futures]
    assert {type(error) for _, error in outcomes} == {polyexec.ExecutorShutdownError}
    assert all(future.done() for future in accepted)
    assert len(told) == len(accepted)
    assert executor.busy == 0


def test_shutdown_in_an_own_task_does_not_wait_for_itself() -> None:
    executor = _threads()
    future = executor.submit(executor.shutdown)
    with pytest.raises(RuntimeError, match="use wait=False"):
        future.result(PATIENCE)
    behind = _threads()
    assert behind.submit(behind.shutdown, wait=False).result(PATIENCE) is None
    ends(behind.shutdown)


def test_shutdown_in_an_own_callback_ends_the_executor(gate: threading.Event) -> None:
    executor = _threads()
    future = executor.submit(gate.wait, PATIENCE)
    future.add_done_callback(lambda _: executor.shutdown(wait=False))
    gate.set()
    ends(executor.shutdown)


def test_shutdown_in_a_task_of_a_map_that_waits_for_room_ends() -> None:
    executor = _threads(max_pending=1)

    def task(item: int) -> int:
        executor.shutdown(wait=False)
        return item

    def read() -> list[int]:
        return list(executor.map(task, range(10)))

    assert ends(read) == [*range(10)]


def test_shutdown_waits_for_no_input_that_another_thread_pulls(gate: threading.Event) -> None:
    executor = _threads()
    pulling = threading.Event()

    def inputs() -> Iterator[int]:
        yield 1
        pulling.set()
        gate.wait(PATIENCE)

    reader = threading.Thread(target=lambda: list(executor.map(abs, inputs())), daemon=True)
    reader.start()
    assert pulling.wait(PATIENCE)
    ends(executor.shutdown, wait=False, cancel_futures=True, seconds=3)


def test_shutdown_does_not_mind_maps_that_begin_meanwhile() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            _race_maps()
    finally:
        sys.setswitchinterval(before)


def _race_maps() -> None:
    executor = _threads()
    kept: list[Any] = []

    def begin() -> None:
        for _ in range(5000):
            try:
                kept.append(executor.map(int, ["1"] if executor._shutdown else []))
            except polyexec.ExecutorShutdownError:
                return

    threads = [threading.Thread(target=begin) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(kept) < 100:
        pass
    executor.shutdown()
    for thread in threads:
        thread.join()
    assert executor._shutdown


# -- being dropped -------------------------------------------------------------------------------


def test_a_dropped_executor_is_collected_at_once_and_its_threads_end() -> None:
    gc.collect()
    gc.disable()
    try:
        executor = _threads(2)
        executor.submit(int).result()
        threads = list(executor._threads)
        reference = weakref.ref(executor)
        del executor
        for thread in threads:
            thread.join(PATIENCE)
        assert reference() is None
        assert not any(thread.is_alive() for thread in threads)
    finally:
        gc.enable()


def test_the_tasks_of_a_dropped_executor_run(gate: threading.Event) -> None:
    executor = _threads()
    futures = [executor.submit(gate.wait, PATIENCE), executor.submit(int)]
    del executor
    gate.set()
    assert [future.result(PATIENCE) for future in futures] == [True, 0]


def test_a_worker_that_drops_an_unread_map_does_not_wait_for_itself(gate: threading.Event) -> None:
    executor = _threads(max_pending=1)
    seen: list[int] = []
    results = [fake(InlineExecutor).map(int, ())]
    results[0] = executor.map(seen.append, iter(range(100)))
    executor.submit(lambda _: gate.wait(PATIENCE), results.pop())
    gate.set()
    ends(executor.shutdown)
    assert seen == list(range(100))


# -- max_pending ---------------------------------------------------------------------------------


def test_submit_blocks_while_there_is_no_room(executor: Any) -> None:
    bounded = fake(QueueingExecutor, max_pending=2)
    for _ in range(2):
        bounded.submit(int)
    third = concurrent.futures.ThreadPoolExecutor(1)
    late = third.submit(bounded.submit, int)
    with pytest.raises(concurrent.futures.TimeoutError):
        late.result(0.05)
    bounded.tasks.popleft().run()
    assert late.result(PATIENCE).done() is False
    third.shutdown()
    assert executor.busy == 0


def test_room_that_is_made_at_the_edge_of_a_slice_is_taken() -> None:
    bounded = fake(QueueingExecutor, max_pending=1)
    bounded.submit(int)
    room = bounded._ledger.room
    room._freed = LateCondition(threading.RLock(), bounded.run_all)
    assert not bounded.submit(int).done()


def test_a_cancelled_task_makes_room() -> None:
    bounded = fake(QueueingExecutor, max_pending=1)
    for _ in range(5):
        assert ends(bounded.submit, int).cancel()


def test_submit_in_a_task_of_the_same_executor_never_blocks() -> None:
    with _threads(max_pending=1) as executor:
        futures = executor.submit(lambda: [executor.submit(int) for _ in range(5)]).result(PATIENCE)
        assert [future.result(PATIENCE) for future in futures] == [0] * 5


def test_submit_in_a_callback_of_the_same_executor_never_blocks(gate: threading.Event) -> None:
    for kind in (None, IoExecutor):
        executor = fake(kind, max_pending=1) if kind else _threads(max_pending=1)
        got: concurrent.futures.Future[list[Any]] = concurrent.futures.Future()
        future = executor.submit(gate.wait, PATIENCE)
        future.add_done_callback(
            lambda _, got=got, executor=executor: got.set_result(
                [executor.submit(int) for _ in range(3)]
            )
        )
        gate.set()
        assert [one.result(PATIENCE) for one in got.result(PATIENCE)] == [0] * 3
        ends(executor.shutdown)


def test_submit_on_a_running_event_loop_never_blocks() -> None:
    async def main() -> list[int]:
        with _threads(max_pending=1) as executor:
            return [*await asyncio.gather(*[executor.submit(int) for _ in range(5)])]

    assert ends(asyncio.run, main()) == [0] * 5


def test_asubmit_waits_for_room_without_blocking_the_loop(gate: threading.Event) -> None:
    async def main() -> bool:
        executor = _threads(max_pending=1)
        await executor.asubmit(gate.wait, PATIENCE)
        second = asyncio.ensure_future(executor.asubmit(int))
        await asyncio.sleep(0)
        waited = not second.done()
        gate.set()
        return waited and await (await second) == 0

    assert ends(asyncio.run, main())


def test_no_wake_up_is_lost_to_a_cancelled_asubmit(gate: threading.Event) -> None:
    async def main() -> int:
        executor = _threads(max_pending=1)
        await executor.asubmit(gate.wait, PATIENCE)
        waiting = asyncio.ensure_future(executor.asubmit(int))
        cancelled = asyncio.ensure_future(executor.asubmit(int))
        for _ in range(3):
            await asyncio.sleep(0)
        cancelled.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        gate.set()
        future = await asyncio.wait_for(waiting, 3)
        value: int = await future
        return value

    assert ends(asyncio.run, main()) == 0


def test_threads_and_coroutines_that_wait_for_room_all_get_it() -> None:
    executor = _threads(max_pending=1)

    async def main() -> int:
        futures = [await executor.asubmit(int) for _ in range(100)]
        return len([await future for future in futures])

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        threads = [
            pool.submit(lambda: [executor.submit(int).result() for _ in range(100)])
            for _ in range(2)
        ]
        coroutine = pool.submit(lambda: asyncio.run(main()))
        assert coroutine.result(PATIENCE) == 100
        assert [len(thread.result(PATIENCE)) for thread in threads] == [100, 100]


def test_those_who_wait_for_room_are_refused_at_shutdown(gate: threading.Event) -> None:
    executor = _threads(max_pending=1)
    executor.submit(gate.wait, PATIENCE)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        late = [pool.submit(executor.submit, int) for _ in range(2)]
        executor.shutdown(wait=False)
        gate.set()
        errors = [type(one.exception(PATIENCE)) for one in late]
    assert errors == [polyexec.ExecutorShutdownError] * 2


# -- being broken --------------------------------------------------------------------------------


def test_a_broken_executor_fails_what_it_has_and_refuses_more(executor: Any) -> None:
    futures = [executor.submit(int) for _ in range(3)]
    executor.mark_broken(polyexec.BrokenExecutor("worn out"))
    errors = [future.exception(0) for future in futures]
    assert [str(error) for error in errors] == ["worn out"] * 3
    assert len({id(error) for error in errors}) == 3
    with pytest.raises(polyexec.BrokenExecutor, match="worn out"):
        executor.submit(int)
    executor.run_all()
    ends(executor.shutdown)


def test_breaking_takes_every_task_along_whatever_callbacks_do(
    executor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    futures = [executor.submit(int) for _ in range(5)]
    for future in futures:
        future.add_done_callback(lambda _: sys.exit("in a callback"))
    with contextlib.suppress(SystemExit):
        executor.mark_broken(polyexec.BrokenExecutor("worn out"))
    assert all(future.done() for future in futures)
    assert caplog.records


def test_a_failing_initializer_breaks_the_executor(caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Event()

    def initialize() -> None:
        go.wait(PATIENCE)
        raise ValueError("no number")

    executor = _threads(2, initializer=initialize)
    futures = [executor.submit(int) for _ in range(4)]
    go.set()
    for future in futures:
        assert isinstance(future.exception(PATIENCE), polyexec.InitializerError)
    ends(executor.shutdown)
    assert "Exception in initializer" in caplog.text


# -- os.fork -------------------------------------------------------------------------------------


def _in_child(code: str) -> str:
    """Run *code* and return what it prints; `child(...)` in it forks."""
    prelude = """
        def child(task, end=os._exit):
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                try:
                    task()
                except BaseException as error:
                    os.write(1, type(error).__name__.encode())
                end(0)
            limit = time.monotonic() + 4
            while time.monotonic() < limit:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    return
                time.sleep(0.01)
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            os.write(1, b"hangs")
        gate = threading.Event()
        """
    done = python(
        THREAD + textwrap.dedent(prelude) + textwrap.dedent(code), "-W", "ignore", seconds=20
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


pytestmark_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@pytestmark_fork
def test_in_a_forked_child_the_parents_executor_is_broken() -> None:
    code = """
        executor = ctx.Executor(1)
        future = executor.submit(gate.wait, 20)
        child(lambda: executor.submit(int))
        child(lambda: future.result(3))
        child(executor.shutdown)
        gate.set()
        executor.shutdown()
    """
    assert _in_child(code) == "BrokenExecutorBrokenExecutor"


@pytestmark_fork
def test_in_a_forked_child_a_full_executor_does_not_block() -> None:
    code = """
        executor = ctx.Executor(1, max_pending=1)
        executor.submit(gate.wait, 20)
        child(lambda: executor.submit(int))
        gate.set()
        executor.shutdown()
    """
    assert _in_child(code) == "BrokenExecutor"


@pytestmark_fork
def test_a_forked_child_exits_while_the_parents_thread_pulls_a_map() -> None:
    code = """
        executor = ctx.Executor(1)
        pulling = threading.Event()
        def inputs():
            yield 1
            pulling.set()
            gate.wait(20)
        reader = threading.Thread(target=lambda: list(executor.map(abs, inputs())))
        reader.start()
        pulling.wait(5)
        child(lambda: None, sys.exit)
        gate.set()
        reader.join()
    """
    assert _in_child(code) == ""


@pytestmark_fork
def test_a_forked_child_runs_no_task_of_its_parent() -> None:
    code = """
        executor = ctx.Executor(1)
        executor.submit(gate.wait, 20)
        executor.submit(print, os.getpid())
        child(lambda: None, sys.exit)
        gate.set()
        executor.shutdown()
        print("end")
    """
    assert len(_in_child(code).split()) == 2


@pytestmark_fork
def test_a_forked_child_may_make_an_executor_of_its_own() -> None:
    code = """
        executor = ctx.Executor(1)
        executor.submit(int).result()
        def own():
            with ctx.Executor(1) as mine:
                mine.submit(os.write, 1, b"own").result(3)
        child(own, sys.exit)
    """
    assert _in_child(code) == "own"


# -- the interpreter's exit ----------------------------------------------------------------------


def test_unfinished_tasks_and_unread_maps_are_finished_at_exit() -> None:
    code = """
        executor = ctx.Executor(2)
        for number in range(3):
            executor.submit(lambda n: (time.sleep(0.02), sys.stdout.write(f"{n} ")), number)
        unread = executor.map(lambda n: sys.stdout.write(f"{n} "), range(100, 200))
    """
    done = python(THREAD + textwrap.dedent(code))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(map(int, done.stdout.split())) == [0, 1, 2, *range(100, 200)]


def test_callbacks_run_at_exit() -> None:
    code = """
        executor = ctx.Executor(1)
        executor.submit(time.sleep, 0.05).add_done_callback(lambda _: print("called"))
    """
    done = python(THREAD + textwrap.dedent(code))
    assert (done.stdout, done.stderr) == ("called\n", "")


def test_workers_that_are_replaced_finish_their_tasks_at_exit() -> None:
    code = """
        executor = ctx.Executor(1, max_tasks_per_child=1)
        for number in range(4):
            executor.submit(lambda n: (time.sleep(0.02), print(n, end="")), number)
    """
    assert python(THREAD + textwrap.dedent(code)).stdout == "0123"


def test_a_worker_that_cannot_be_replaced_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = _threads(max_tasks_per_child=1)
    executor.submit(int).result(PATIENCE)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        held = threading.Event()
        first = executor.submit(held.wait, PATIENCE)
        while not first.running():
            pass
        futures = [executor.submit(int) for _ in range(3)]
        patch.setattr(threading.Thread, "start", refuse)
        held.set()
        assert all(_result_or_none(future) == 0 for future in futures)


def _result_or_none(future: Any) -> Any:
    try:
        return future.result(3)
    except concurrent.futures.TimeoutError:
        return None


def test_a_submit_after_the_end_of_the_main_program_is_refused() -> None:
    code = """
        import atexit
        def late():
            try:
                ctx.Executor(1).submit(int)
            except RuntimeError as error:
                print(error)
        atexit.register(late)
    """
    done = python(THREAD + textwrap.dedent(code))
    assert "interpreter shutdown" in done.stdout


def test_a_dropped_executor_does_not_disturb_the_exit() -> None:
    code = """
        for _ in range(20):
            ctx.Executor(2).submit(int)
        keep = ctx.Executor(2)
        keep.submit(int).result()
    """
    done = python(THREAD + textwrap.dedent(code))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_is_stuck_in_its_input_does_not_hold_up_an_interrupted_exit() -> None:
    code = """
        executor = ctx.Executor(1)
        pulling = threading.Event()
        def inputs():
            yield 1
            pulling.set()
            time.sleep(60)
        target = lambda: list(executor.map(abs, inputs()))
        threading.Thread(target=target, daemon=True).start()
        pulling.wait(5)
        print("ready", flush=True)
        time.sleep(60)
    """
    seconds, _, errors = _interrupt(code)
    assert seconds < 3
    assert errors.count("Traceback") == 1


# -- Ctrl-C --------------------------------------------------------------------------------------

_BUSY = """
    def task():
        print("ready", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize(
    "body",
    [
        "with ctx.Executor(1) as executor:\n        executor.submit(task).result()",
        "with ctx.Executor(1) as executor:\n        executor.submit(task)",
        "executor = ctx.Executor(1)\n    executor.submit(task).result()",
        "executor = ctx.Executor(1)\n    executor.submit(task)\n    executor.shutdown()",
        "executor = ctx.Executor(1)\n    executor.submit(task)",
        "executor = ctx.Executor(2)\n    list(executor.map(lambda _: task(), range(100)))",
        "with ctx.Executor(1).options(name='x') as view:\n        view.submit(task).result()",
        "with ctx.Pool(1) as pool:\n        pool.apply(task)",
        "with ctx.Pool(1) as pool:\n        pool.map(lambda _: task(), range(9))",
        "pool = ctx.Pool(1)\n    pool.apply_async(task)\n    pool.close()\n    pool.join()",
        "process = ctx.Process(target=task)\n    process.start()\n    process.join()",
    ],
    ids=[
        "with-result",
        "with-exit",
        "result",
        "shutdown",
        "exit",
        "map",
        "view",
        "pool-apply",
        "pool-map",
        "pool-join",
        "process",
    ],
)
def test_ctrl_c_ends_the_program_at_once_with_one_traceback(body: str) -> None:
    seconds, code, errors = _interrupt(f"{_BUSY}\n    {body}")
    assert seconds < 3
    assert errors.count("Traceback") == 1
    assert errors.rstrip().splitlines()[-1].startswith("KeyboardInterrupt")
    assert code in {-signal.SIGINT, 1, 0}


def test_ctrl_c_ends_the_program_at_once_even_if_its_handling_fails() -> None:
    code = """
        def task():
            print("ready", flush=True)
            time.sleep(60)
        executor = ctx.Executor(1)
        try:
            executor.submit(task).result()
        finally:
            raise RuntimeError("cannot release un-acquired lock")  # as a Condition does at times
    """
    seconds, _, errors = _interrupt(code)
    assert seconds < 3
    assert "KeyboardInterrupt" in errors


def test_ctrl_c_in_asyncio_ends_the_program_at_once() -> None:
    code = """
        import asyncio
        def task():
            print("ready", flush=True)
            time.sleep(60)
        async def main():
            with ctx.Executor(1) as executor:
                await executor.submit(task)
        asyncio.run(main())
    """
    seconds, _, errors = _interrupt(code)
    assert seconds < 3
    assert "KeyboardInterrupt" in errors


# -- asyncio's default executor, free threads ----------------------------------------------------


def test_it_can_be_asyncios_default_executor() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(_threads(1))
        return await loop.run_in_executor(None, int, "3")

    assert ends(asyncio.run, main()) == 3


def test_busy_workers_do_not_keep_the_idle_from_being_hired(gate: threading.Event) -> None:
    with _threads(3) as executor:
        waits = [executor.submit(gate.wait, PATIENCE) for _ in range(2)]
        assert executor.submit(int).result(PATIENCE) == 0
        gate.set()
        assert [wait.result() for wait in waits] == [True, True]


def test_an_idle_thread_is_used_before_one_is_started() -> None:
    with _threads(4) as executor:
        for _ in range(20):
            executor.submit(int).result(PATIENCE)
        assert len(executor._threads) == 1


def test_more_positional_options_than_there_are_are_refused() -> None:
    with pytest.raises(TypeError):
        polyexec.get_context("thread").Executor(1, "prefix", None, (), 5)  # type: ignore[call-arg]  # the mistake


def test_spreading_backends_are_drained_too() -> None:
    with fake(SpreadingExecutor, 4) as executor:
        futures = [executor.submit(int) for _ in range(50)]
    assert all(future.done() for future in futures)
