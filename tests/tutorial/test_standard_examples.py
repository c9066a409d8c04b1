"""The examples of multiprocessing's documentation, with polyexec in its place."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from typing import Any

import pytest

import polyexec as multiprocessing
from polyexec import managers, pool, process, queues
from polyexec.connection import Client, Listener, wait
from polyexec.shared_memory import ShareableList, SharedMemory
from polyexec.sharedctypes import Array, Value
from tutorial import lessons

pytestmark = pytest.mark.usefixtures("method")


def test_structures_are_shared() -> None:
    number, text = Value("i", 7), Array("c", b"hello world", lock=multiprocessing.RLock())
    points: Any = Array(lessons.Point, [(1.875, -6.25), (-5.75, 2.0)])
    child = multiprocessing.Process(target=lessons.modify, args=(number, text, points))
    child.start()
    child.join()
    assert (number.value, text.value) == (49, b"HELLO WORLD")
    assert [(point.x, point.y) for point in points] == [(3.515625, 39.0625), (33.0625, 4.0)]
    assert ctypes.sizeof(lessons.Point) == 16


def test_wait_tells_which_readers_are_ready() -> None:
    readers: list[Any] = []
    children = []
    for _ in range(4):
        reader, writer = multiprocessing.Pipe(duplex=False)
        readers.append(reader)
        child = multiprocessing.Process(target=lessons.send_name, args=(writer, 10))
        child.start()
        children.append(child)
        writer.close()
    messages = []
    while readers:
        ready: list[Any] = wait(readers)
        for each in ready:
            try:
                messages.append(each.recv())
            except EOFError:
                readers.remove(each)
    for child in children:
        child.join()
    assert sorted(messages) == sorted((n, child.name) for child in children for n in range(10))


def test_a_listener_and_a_client_exchange_messages() -> None:
    received: list[Any] = []

    def ask(address: Any) -> None:
        with Client(address, authkey=b"secret password") as connection:
            received.append(connection.recv())
            received.append(connection.recv_bytes())

    with Listener(("localhost", 0), authkey=b"secret password") as listener:
        client = threading.Thread(target=ask, args=(listener.address,))
        client.start()
        with listener.accept() as connection:
            connection.send([2.25, None, "junk", float])
            connection.send_bytes(b"hello")
        client.join()
    assert received == [[2.25, None, "junk", float], b"hello"]


def test_workers_are_fed_by_queues() -> None:
    tasks: Any = multiprocessing.Queue()
    done: Any = multiprocessing.Queue()
    for number in range(20):
        tasks.put((pow, (number, 2)))
    children = [
        multiprocessing.Process(target=lessons.calculate, args=(tasks, done)) for _ in range(4)
    ]
    for child in children:
        child.start()
    results = [done.get() for _ in range(20)]
    for _ in children:
        tasks.put("STOP")
    for child in children:
        child.join()
    assert sorted(results) == [number**2 for number in range(20)]


def test_a_joinable_queue_waits_for_its_work() -> None:
    work: Any = multiprocessing.JoinableQueue()
    seen: Any = multiprocessing.Queue()
    multiprocessing.Process(target=lessons.consume, args=(work, seen), daemon=True).start()
    for item in range(5):
        work.put(item)
    work.join()
    assert [seen.get() for _ in range(5)] == list(range(5))


def test_a_condition_wakes_a_process() -> None:
    condition = multiprocessing.Condition()
    ready: Any = multiprocessing.Queue()
    said: Any = multiprocessing.Queue()
    arguments = (condition, ready, said)
    multiprocessing.Process(target=lessons.wait_for_turn, args=arguments).start()
    assert ready.get() == "waiting"
    with condition:
        condition.notify_all()
    assert said.get() == "my turn"


def test_a_pool_runs_many_calls_in_many_ways() -> None:
    with multiprocessing.Pool(processes=4) as workers:
        results = [workers.apply_async(os.getpid, ()) for _ in range(4)]
        assert all(isinstance(result.get(timeout=60), int) for result in results)
        iterator = workers.imap(lessons.square, range(10))
        assert (next(iterator), next(iterator), iterator.next(timeout=60)) == (0, 1, 4)
        assert workers.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]


def test_a_process_knows_its_relatives() -> None:
    assert multiprocessing.current_process().name == "MainProcess"
    assert multiprocessing.parent_process() is None
    assert multiprocessing.current_process() not in multiprocessing.active_children()
    assert multiprocessing.cpu_count() >= 1


def test_shared_memory_has_a_name(method: str) -> None:
    block = SharedMemory(create=True, size=16)
    try:
        name, ctx = block.name, multiprocessing.get_context(method)
        child = ctx.Process(target=lessons.write_shared, args=(name,))
        child.start()
        child.join()
        assert block.buf is not None
        assert block.buf[0] == 42
    finally:
        block.close()
        block.unlink()


def test_a_shareable_list_is_a_list_of_fixed_size() -> None:
    values: list[Any] = ["howdy", b"HoWdY", -273.154, 100, None, True, 42]
    shared: Any = ShareableList(values)
    try:
        shared[2] = -78.5
        assert [*shared][2:4] == [-78.5, 100]
    finally:
        shared.shm.close()
        shared.shm.unlink()


def test_the_logger_is_multiprocessings() -> None:
    logger = multiprocessing.get_logger()
    level = logger.level
    assert isinstance(logger, logging.Logger)
    assert multiprocessing.log_to_stderr(logging.WARNING) is logger
    logger.handlers.clear()
    logger.setLevel(level)


def test_the_exceptions_are_multiprocessings() -> None:
    import multiprocessing as standard

    for name in ("ProcessError", "BufferTooShort", "TimeoutError", "AuthenticationError"):
        assert getattr(multiprocessing, name) is getattr(standard, name)


def test_classes_are_the_standard_ones_to_those_who_check(method: str) -> None:
    from multiprocessing.context import BaseContext
    from multiprocessing.pool import AsyncResult, Pool
    from multiprocessing.process import BaseProcess

    assert isinstance(multiprocessing.get_context(method), BaseContext)
    assert isinstance(multiprocessing.Process(), BaseProcess)
    with multiprocessing.Pool(1) as workers:
        assert isinstance(workers, Pool)
        assert isinstance(workers.apply_async(int), AsyncResult)


def test_submodules_have_the_standard_names() -> None:
    assert issubclass(pool.ThreadPool, pool.Pool)
    assert issubclass(managers.SyncManager, managers.BaseManager)
    assert process.current_process().name == "MainProcess"
    assert queues.SimpleQueue().empty()


class _Late(multiprocessing.Process):
    """A subclass made before the start method is chosen."""

    def __init__(self, said: Any) -> None:
        super().__init__()
        self.said = said

    def run(self) -> None:
        self.said.put(multiprocessing.current_process().name)


def test_a_subclass_of_process_follows_the_start_method() -> None:
    said: Any = multiprocessing.Queue()
    child = _Late(said)
    child.start()
    assert said.get() == child.name
    child.join()
