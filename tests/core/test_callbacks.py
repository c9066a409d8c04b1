"""Callbacks, and the I/O thread that they must not hold up."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any

from core.fakes import (
    PATIENCE,
    FakeContext,
    IoExecutor,
    ends,
    fake,
)


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
