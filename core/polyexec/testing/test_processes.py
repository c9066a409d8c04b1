"""Processes, and what they share: queues, pipes, locks, memory, managers."""

from __future__ import annotations

import multiprocessing.connection
import queue
from typing import TYPE_CHECKING, Any

import pytest

from polyexec.capabilities import MANAGER, PROCESS, QUEUES, SHARED_MEMORY, SYNCHRONIZE
from polyexec.testing import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polyexec import Context

pytestmark: pytest.MarkDecorator = pytest.mark.needs(PROCESS)


@pytest.fixture
def start(context: Context, patience: float) -> Iterator[Callable[..., Any]]:
    """Start a process; what the test leaves running fails it."""
    started: list[Any] = []

    def start(target: Callable[..., object], *args: Any, **options: Any) -> Any:
        process = context.Process(target=target, args=args, **options)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.join(patience)
        assert process.exitcode is not None, f"{process} did not end within {patience:.0f} s"


@pytest.mark.parametrize(("code", "exitcode"), [(0, 0), (None, 0), (3, 3), (True, 1), ("x", 1)])
def test_a_process_has_the_exit_code_that_it_left_with(
    start: Callable[..., Any], patience: float, code: Any, exitcode: int
) -> None:
    process = start(tasks.leave, code)
    process.join(patience)
    assert process.exitcode == exitcode


def test_a_process_that_raises_has_exit_code_1(start: Callable[..., Any], patience: float) -> None:
    process = start(tasks.fail, "this traceback is part of the test")
    process.join(patience)
    assert process.exitcode == 1


def test_a_process_is_alive_between_start_and_end(
    context: Context, start: Callable[..., Any], gate: Any, patience: float
) -> None:
    process = start(tasks.pass_gate, gate.address, name="kit process", daemon=True)
    gate.await_arrivals(1)
    assert process.is_alive()
    assert process in context.active_children()
    assert (process.name, process.daemon, process.exitcode) == ("kit process", True, None)
    gate.open()
    process.join(patience)
    assert not process.is_alive()
    assert process not in context.active_children()


def test_a_process_starts_once_and_not_after_its_end(context: Context, patience: float) -> None:
    process = context.Process(target=tasks.identity, args=(1,))
    process.start()
    with pytest.raises(AssertionError, match="cannot start a process twice"):
        process.start()
    process.join(patience)
    process.close()
    with pytest.raises(ValueError, match="process object is closed"):
        process.start()


@pytest.mark.needs(QUEUES)
def test_a_process_runs_a_method_of_what_holds_it(context: Context, patience: float) -> None:
    owner = tasks.Owner(context, context.Queue())
    owner.process.start()
    assert owner.results.get(timeout=patience) == owner.process.name
    owner.process.join(patience)
    assert owner.process.exitcode == 0


def test_a_sentinel_is_ready_when_the_process_has_ended(
    start: Callable[..., Any], gate: Any, patience: float
) -> None:
    process = start(tasks.pass_gate, gate.address)
    assert multiprocessing.connection.wait([process.sentinel], timeout=0) == []
    gate.open()
    assert multiprocessing.connection.wait([process.sentinel], patience) == [process.sentinel]


@pytest.mark.needs(QUEUES)
def test_a_process_knows_itself_and_its_parent(
    context: Context, start: Callable[..., Any], patience: float
) -> None:
    names = context.Queue()
    start(tasks.report_family, context, names, name="child")
    assert names.get(timeout=patience) == ("child", context.current_process().name)


@pytest.mark.needs(QUEUES)
def test_a_queue_keeps_the_order_of_what_was_put(
    context: Context, start: Callable[..., Any], patience: float
) -> None:
    items = context.Queue()
    start(tasks.put, items, *range(50))
    assert [items.get(timeout=patience) for _ in range(50)] == list(range(50))


@pytest.mark.needs(QUEUES)
def test_a_queue_says_when_it_is_empty_or_full(context: Context, patience: float) -> None:
    items = context.Queue(1)
    with pytest.raises(queue.Empty):
        items.get(timeout=0.01)
    items.put("only")
    with pytest.raises(queue.Full):
        items.put("another", timeout=0.01)
    assert items.get(timeout=patience) == "only"


@pytest.mark.needs(QUEUES)
def test_a_queue_closed_here_is_open_there(
    context: Context, start: Callable[..., Any], patience: float
) -> None:
    shared, results = context.SimpleQueue(), context.Queue()
    closed = context.Queue()
    start(tasks.put, closed, "late")
    closed.close()
    with pytest.raises(ValueError, match="closed"):
        closed.put("no more")
    start(tasks.put, shared, "x")
    assert shared.get() == "x"
    start(tasks.put, results, "y")
    assert results.get(timeout=patience) == "y"


@pytest.mark.needs(QUEUES)
def test_a_joinable_queue_is_joined_when_all_is_done(
    context: Context, start: Callable[..., Any], patience: float, patiently: Callable[..., Any]
) -> None:
    work, results = context.JoinableQueue(), context.Queue()
    for item in range(10):
        work.put(item)
    start(tasks.get_and_finish, work, results, 10)
    patiently(work.join)
    assert [results.get(timeout=patience) for _ in range(10)] == list(range(10))


@pytest.mark.needs(QUEUES)
def test_a_pipe_ends_when_the_other_end_is_closed(
    context: Context, start: Callable[..., Any], patiently: Callable[..., Any]
) -> None:
    here, there = context.Pipe(duplex=False)
    start(tasks.send, there, 1, "two")
    there.close()
    assert [patiently(here.recv), patiently(here.recv)] == [1, "two"]
    with pytest.raises(EOFError):
        patiently(here.recv)


@pytest.mark.needs(QUEUES)
def test_a_pipe_ends_with_the_process_that_alone_has_the_other_end(
    context: Context, start: Callable[..., Any], patiently: Callable[..., Any]
) -> None:
    def begin() -> Any:
        here, there = context.Pipe(duplex=False)
        start(tasks.send, there, 1)
        return here

    here = begin()
    assert patiently(here.recv) == 1
    with pytest.raises(EOFError):
        patiently(here.recv)


@pytest.mark.needs(QUEUES)
def test_a_pipe_carries_objects_both_ways(
    context: Context, start: Callable[..., Any], patiently: Callable[..., Any]
) -> None:
    here, there = context.Pipe()
    start(tasks.echo, there)
    there.close()
    for obj in ([1, 2], {"a": None}, b"bytes" * 50_000):
        here.send(obj)
        assert patiently(here.recv) == obj
    here.send(None)


@pytest.mark.needs(SHARED_MEMORY, SYNCHRONIZE)
def test_a_lock_excludes_other_processes(
    context: Context, start: Callable[..., Any], patience: float
) -> None:
    value, lock = context.Value("i", 0, lock=False), context.Lock()
    processes = [start(tasks.add_under_lock, value, lock, 200) for _ in range(3)]
    for process in processes:
        process.join(patience)
    assert value.value == 600


@pytest.mark.needs(SYNCHRONIZE)
def test_a_lock_that_is_held_is_not_given_again(context: Context) -> None:
    lock = context.Lock()
    assert lock.acquire()
    assert not lock.acquire(block=False)
    assert not lock.acquire(timeout=0.01)
    lock.release()
    assert lock.acquire(block=False)
    lock.release()


@pytest.mark.needs(SYNCHRONIZE)
def test_an_rlock_is_given_to_its_holder_again(context: Context) -> None:
    lock = context.RLock()
    with lock, lock:
        pass
    with pytest.raises((AssertionError, RuntimeError)):
        lock.release()


@pytest.mark.needs(SYNCHRONIZE)
def test_a_semaphore_counts(context: Context) -> None:
    semaphore = context.BoundedSemaphore(2)
    assert semaphore.acquire(block=False)
    assert semaphore.acquire(block=False)
    assert not semaphore.acquire(block=False)
    semaphore.release()
    semaphore.release()
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()


@pytest.mark.needs(QUEUES, SYNCHRONIZE)
def test_an_event_wakes_who_waits_for_it(
    context: Context, start: Callable[..., Any], patience: float
) -> None:
    event, results = context.Event(), context.Queue()
    start(tasks.wait_and_report, event, results)
    assert not event.is_set()
    event.set()
    assert results.get(timeout=patience) == "set"


@pytest.mark.needs(QUEUES, SYNCHRONIZE)
def test_a_barrier_lets_all_pass_when_all_are_there(
    context: Context, start: Callable[..., Any], patience: float
) -> None:
    barrier, places = context.Barrier(3), context.Queue()
    for _ in range(3):
        start(tasks.meet, barrier, places)
    assert sorted(places.get(timeout=patience) for _ in range(3)) == [0, 1, 2]


@pytest.mark.needs(SHARED_MEMORY)
def test_an_array_is_shared(context: Context, start: Callable[..., Any], patience: float) -> None:
    array = context.Array("i", [1, 2, 3])
    start(tasks.increment_all, array).join(patience)
    assert list(array) == [2, 3, 4]


@pytest.mark.needs(MANAGER)
def test_a_managers_dict_is_shared(
    context: Context, start: Callable[..., Any], patience: float
) -> None:
    with context.Manager() as manager:
        shared = manager.dict(a=1)
        start(tasks.fill, shared, "b", 2).join(patience)
        assert dict(shared) == {"a": 1, "b": 2}
