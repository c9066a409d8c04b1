"""Back-pressure: `max_pending`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import (
    PATIENCE,
    IoExecutor,
    LateCondition,
    QueueingExecutor,
    ends,
    fake,
    thread_executor,
)

if TYPE_CHECKING:
    import threading


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
    room._freed = LateCondition(bounded.run_all)
    assert not bounded.submit(int).done()


def test_a_cancelled_task_makes_room() -> None:
    bounded = fake(QueueingExecutor, max_pending=1)
    for _ in range(5):
        assert ends(bounded.submit, int).cancel()


def test_submit_in_a_task_of_the_same_executor_never_blocks() -> None:
    with thread_executor(max_pending=1) as executor:
        futures = executor.submit(lambda: [executor.submit(int) for _ in range(5)]).result(PATIENCE)
        assert [future.result(PATIENCE) for future in futures] == [0] * 5


def test_submit_in_a_callback_of_the_same_executor_never_blocks(gate: threading.Event) -> None:
    for kind in (None, IoExecutor):
        executor = fake(kind, max_pending=1) if kind else thread_executor(max_pending=1)
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
        with thread_executor(max_pending=1) as executor:
            return [*await asyncio.gather(*[executor.submit(int) for _ in range(5)])]

    assert ends(asyncio.run, main()) == [0] * 5


def test_asubmit_waits_for_room_without_blocking_the_loop(gate: threading.Event) -> None:
    async def main() -> bool:
        executor = thread_executor(max_pending=1)
        await executor.asubmit(gate.wait, PATIENCE)
        second = asyncio.ensure_future(executor.asubmit(int))
        await asyncio.sleep(0)
        waited = not second.done()
        gate.set()
        return waited and await (await second) == 0

    assert ends(asyncio.run, main())


def test_no_wake_up_is_lost_to_a_cancelled_asubmit(gate: threading.Event) -> None:
    async def main() -> int:
        executor = thread_executor(max_pending=1)
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
    executor = thread_executor(max_pending=1)

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
    executor = thread_executor(max_pending=1)
    executor.submit(gate.wait, PATIENCE)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        late = [pool.submit(executor.submit, int) for _ in range(2)]
        executor.shutdown(wait=False)
        gate.set()
        errors = [type(one.exception(PATIENCE)) for one in late]
    assert errors == [polyexec.ExecutorShutdownError] * 2


def test_an_asyncio_that_is_being_imported_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncio", types.ModuleType("asyncio"))
    with thread_executor(max_pending=1) as executor:
        assert executor.submit(abs, -1).result(PATIENCE) == 1
