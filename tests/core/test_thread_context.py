"""The thread context: multiprocessing's API on threads."""

from __future__ import annotations

import inspect
import io
import multiprocessing
import multiprocessing.connection
import multiprocessing.managers
import os
import pathlib
import pickle
import queue
import subprocess
import sys
import textwrap
import threading
import time
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import PATIENCE, ends, python
from polyexec import capabilities

if TYPE_CHECKING:
    from collections.abc import Iterator

THREAD = "import polyexec, threading, time, sys, os; ctx = polyexec.get_context('thread')\n"


@pytest.fixture
def ctx() -> Any:
    return polyexec.get_context("thread")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event that is set at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def uncaught(monkeypatch: pytest.MonkeyPatch) -> queue.SimpleQueue[Any]:
    """What threads of this test end with, where Python would report it."""
    errors: queue.SimpleQueue[Any] = queue.SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda args: errors.put(args.exc_value))
    return errors


def _run(ctx: Any, target: Any, *args: Any, **options: Any) -> Any:
    process = ctx.Process(target=target, args=args, **options)
    process.start()
    process.join(PATIENCE)
    return process


# -- Process -------------------------------------------------------------------------------------


def test_a_process_runs_its_target_with_its_arguments(ctx: Any) -> None:
    got: list[Any] = []
    process = ctx.Process(target=lambda *args, **kwargs: got.append((args, kwargs)), args=(1,))
    process._kwargs["key"] = 2
    process.start()
    process.join(PATIENCE)
    assert (got, process.exitcode) == ([((1,), {"key": 2})], 0)


def test_a_process_tells_its_state(ctx: Any, gate: threading.Event) -> None:
    process = ctx.Process(target=gate.wait, args=(PATIENCE,), name="mine")
    assert (process.is_alive(), process.exitcode, process.pid) == (False, None, None)
    process.start()
    assert (process.is_alive(), process.exitcode, process.name) == (True, None, "mine")
    assert process.pid == process.ident is not None
    process.join(0.01)
    assert process.is_alive()
    gate.set()
    process.join(PATIENCE)
    assert (process.is_alive(), process.exitcode) == (False, 0)
    assert isinstance(process, BaseProcess)


@pytest.mark.parametrize(
    ("code", "exitcode"), [(None, 0), (0, 0), (3, 3), (True, 1), ("text", 1), (1.5, 1)]
)
def test_sys_exit_gives_the_exit_code(
    ctx: Any, code: Any, exitcode: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(ctx, sys.exit, code).exitcode == exitcode
    written = capsys.readouterr().err
    assert written == (f"{code}\n" if isinstance(code, (str, float)) else "")


def test_an_exception_is_reported_and_gives_exit_code_1(
    ctx: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(ctx, int, "no number", name="mine").exitcode == 1
    written = capsys.readouterr().err
    assert written.startswith("Process mine:\nTraceback")
    assert "no number" in written


def test_an_exit_that_cannot_be_shown_still_ends_the_process(
    ctx: Any, uncaught: queue.SimpleQueue[Any]
) -> None:
    class _Unshown:
        def __str__(self) -> str:
            raise ValueError("no text")

    process = _run(ctx, sys.exit, _Unshown())
    assert (process.is_alive(), process.exitcode) == (False, 1)
    assert multiprocessing.connection.wait([process.sentinel], PATIENCE)
    assert isinstance(uncaught.get(timeout=PATIENCE), ValueError)


def test_an_error_that_cannot_be_reported_still_ends_the_process(
    ctx: Any, monkeypatch: pytest.MonkeyPatch, uncaught: queue.SimpleQueue[Any]
) -> None:
    class _Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError("no space left")

    monkeypatch.setattr(sys, "stderr", _Full())
    process = _run(ctx, int, "no number")
    assert (process.is_alive(), process.exitcode) == (False, 1)
    assert isinstance(uncaught.get(timeout=PATIENCE), OSError)


def test_a_subclass_overrides_run_and_keeps_what_is_its_own(ctx: Any) -> None:
    got: list[int] = []

    class _Mine(ctx.Process):  # type: ignore[misc]  # a class found at run time
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def run(self) -> None:
            self.number += 1
            got.append(self.number)

    mine = _Mine(4)
    mine.start()
    mine.join(PATIENCE)
    assert (got, mine.number) == ([5], 4)


def test_a_process_starts_once_and_is_joined_after_its_start(ctx: Any) -> None:
    process = ctx.Process(target=int)
    with pytest.raises(AssertionError):
        process.join()
    process.start()
    with pytest.raises(AssertionError):
        process.start()
    process.join(PATIENCE)


def test_close_needs_the_end_and_makes_the_process_unusable(
    ctx: Any, gate: threading.Event
) -> None:
    process = ctx.Process(target=gate.wait, args=(PATIENCE,))
    process.start()
    with pytest.raises(ValueError, match="still running"):
        process.close()
    gate.set()
    process.join(PATIENCE)
    process.close()
    with pytest.raises(ValueError, match="closed"):
        process.is_alive()


def test_what_a_thread_cannot_do_says_who_can(ctx: Any, gate: threading.Event) -> None:
    process = ctx.Process(target=gate.wait, args=(PATIENCE,), name="mine")
    process.start()
    for stop in (process.terminate, process.kill):
        with pytest.raises(polyexec.NotSupportedError, match="mine") as caught:
            stop()
        assert caught.value.capability == capabilities.KILL_RUNNING
    gate.set()
    process.join(PATIENCE)


def test_current_and_parent_process_are_the_childs_own(ctx: Any) -> None:
    seen: list[Any] = []

    def grandchild() -> None:
        seen.append((ctx.current_process().name, ctx.parent_process().name))

    def child() -> None:
        seen.append((ctx.current_process().name, ctx.parent_process().name))
        _run(ctx, grandchild, name="grandchild")

    _run(ctx, child, name="child")
    assert seen == [("child", ctx.current_process().name), ("grandchild", "child")]
    assert ctx.parent_process() is multiprocessing.parent_process()


def test_active_children_are_the_live_ones_that_we_started(ctx: Any, gate: threading.Event) -> None:
    inner: list[Any] = []

    def child() -> None:
        inner.extend(ctx.active_children())
        gate.wait(PATIENCE)

    process = ctx.Process(target=child)
    process.start()
    assert process in ctx.active_children()
    gate.set()
    process.join(PATIENCE)
    assert process not in ctx.active_children()
    assert inner == []


def test_active_children_do_not_mind_processes_that_come_and_go(ctx: Any) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    stop = threading.Event()

    def start() -> None:
        while not stop.is_set():
            _run(ctx, int)

    starters = [threading.Thread(target=start) for _ in range(3)]
    try:
        for starter in starters:
            starter.start()
        for _ in range(3000):
            ctx.active_children()
    finally:
        stop.set()
        for starter in starters:
            starter.join(PATIENCE)
        sys.setswitchinterval(before)


def test_the_sentinel_becomes_ready_when_the_process_ends(ctx: Any, gate: threading.Event) -> None:
    processes = [ctx.Process(target=gate.wait, args=(PATIENCE,)), ctx.Process(target=int)]
    for process in processes:
        process.start()
    sentinels = [process.sentinel for process in processes]
    assert multiprocessing.connection.wait(sentinels, PATIENCE) == [sentinels[1]]
    gate.set()
    processes[0].join(PATIENCE)
    assert set(multiprocessing.connection.wait(sentinels, PATIENCE)) == set(sentinels)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_the_sentinel_becomes_ready_although_a_forked_child_lives() -> None:
    code = """
        import multiprocessing.connection
        gate = threading.Event()
        process = ctx.Process(target=gate.wait)
        process.start()
        pid = os.fork()
        if pid == 0:
            time.sleep(20)
            os._exit(0)
        gate.set()
        process.join()
        print(bool(multiprocessing.connection.wait([process.sentinel], 2)))
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    """
    assert python(THREAD + textwrap.dedent(code), "-W", "ignore").stdout == "True\n"


def test_a_process_that_cannot_start_leaves_no_handle_behind(
    ctx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    reader, writer = ctx.Pipe(duplex=False)
    process = ctx.Process(target=int, args=(writer,))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            process.start()
    writer.close()
    assert ends(reader.poll, 2)
    with pytest.raises(EOFError):
        reader.recv()


# -- handles -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda end: (end,),
        lambda end: ([end],),
        lambda end: ((1, end),),
        lambda end: ({"end": end},),
    ],
    ids=["bare", "list", "tuple", "dict"],
)
def test_the_parent_may_close_its_end_after_the_start(
    ctx: Any, gate: threading.Event, wrap: Any
) -> None:
    reader, writer = ctx.Pipe(duplex=False)

    def child(given: Any) -> None:
        gate.wait(PATIENCE)
        while not hasattr(given, "send"):
            given = [*(given.values() if isinstance(given, dict) else given)][-1]
        given.send("sent")

    process = ctx.Process(target=child, args=wrap(writer))
    process.start()
    writer.close()
    gate.set()
    process.join(PATIENCE)
    assert process.exitcode == 0
    assert ends(reader.recv) == "sent"


def test_the_end_of_the_child_is_the_end_of_the_pipe(ctx: Any) -> None:
    reader, writer = ctx.Pipe(duplex=False)
    process = ctx.Process(target=writer.__class__.send, args=(writer, 1))
    process.start()
    writer.close()
    assert ends(reader.recv) == 1
    with pytest.raises(EOFError):
        ends(reader.recv)
    process.join(PATIENCE)


def test_the_end_of_a_child_that_failed_is_the_end_of_the_pipe(
    ctx: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = ctx.Pipe(duplex=False)

    def child(end: Any) -> None:
        raise ValueError(end)

    process = ctx.Process(target=child, kwargs={"end": writer})
    process.start()
    writer.close()
    with pytest.raises(EOFError):
        ends(reader.recv)
    process.join(PATIENCE)
    assert process.exitcode == 1
    assert "ValueError" in capsys.readouterr().err


def test_a_connection_sent_through_a_connection_is_the_receivers_own(ctx: Any) -> None:
    left, right = ctx.Pipe()
    reader, writer = ctx.Pipe(duplex=False)
    left.send(writer)
    writer.close()
    received = right.recv()
    received.send(1)
    assert reader.recv() == 1
    received.close()
    with pytest.raises(EOFError):
        ends(reader.recv)


# -- Pipe ----------------------------------------------------------------------------------------


def test_both_ends_of_a_duplex_pipe_send_and_receive(ctx: Any) -> None:
    left, right = ctx.Pipe()
    left.send({"a": 1})
    right.send([2])
    assert (right.recv(), left.recv()) == ({"a": 1}, [2])


def test_a_one_way_pipe_goes_one_way(ctx: Any) -> None:
    reader, writer = ctx.Pipe(duplex=False)
    assert (reader.readable, reader.writable) == (True, False)
    with pytest.raises(OSError, match="read-only"):
        reader.send(1)
    with pytest.raises(OSError, match="write-only"):
        writer.recv()


def test_objects_and_bytes_may_be_mixed(ctx: Any) -> None:
    left, right = ctx.Pipe()
    left.send([1])
    assert pickle.loads(right.recv_bytes()) == [1]
    left.send_bytes(pickle.dumps({"a": 1}))
    assert right.recv() == {"a": 1}
    left.send_bytes(b"abcdef", 1, 3)
    assert right.recv_bytes() == b"bcd"
    buffer = bytearray(4)
    left.send_bytes(b"xyz")
    assert right.recv_bytes_into(buffer, 1) == 3
    assert buffer == b"\0xyz"


def test_bytes_that_are_too_long_are_refused(ctx: Any) -> None:
    left, right = ctx.Pipe()
    left.send_bytes(b"long")
    with pytest.raises(polyexec.BufferTooShort):
        right.recv_bytes_into(bytearray(2))
    left.send_bytes(b"long")
    with pytest.raises(OSError, match="bad message length"):
        right.recv_bytes(2)


def test_a_closed_pipe_says_so(ctx: Any) -> None:
    left, right = ctx.Pipe()
    right.close()
    with pytest.raises(BrokenPipeError):
        left.send(1)
    with pytest.raises(EOFError):
        left.recv()
    with pytest.raises(OSError, match="closed"):
        right.recv()


def test_poll_waits_as_long_as_it_is_told(ctx: Any) -> None:
    left, right = ctx.Pipe()
    assert not right.poll()
    assert not right.poll(0.01)
    assert not right.poll(-1)
    left.send(1)
    assert right.poll()
    assert ends(right.poll, None)


def test_connection_wait_sees_what_can_be_read(ctx: Any) -> None:
    pairs = [ctx.Pipe() for _ in range(3)]
    ours = [pair[0] for pair in pairs]
    assert multiprocessing.connection.wait(ours, 0) == []
    pairs[1][1].send(1)
    assert multiprocessing.connection.wait(ours, PATIENCE) == [ours[1]]
    ours[1].recv()
    assert multiprocessing.connection.wait(ours, 0) == []
    pairs[2][1].close()
    assert multiprocessing.connection.wait(ours, PATIENCE) == [ours[2]]


def test_connection_wait_wakes_for_what_comes_later(ctx: Any) -> None:
    left, right = ctx.Pipe()
    right.fileno()
    threading.Timer(0.02, left.send, [1]).start()
    assert multiprocessing.connection.wait([right], PATIENCE) == [right]


def _descriptors() -> int:
    folder = pathlib.Path("/proc/self/fd")
    return len([*folder.iterdir()]) if folder.is_dir() else 0


def test_pipes_leave_no_descriptors_behind(ctx: Any) -> None:
    before = _descriptors()
    for _ in range(20):
        left, right = ctx.Pipe()
        left.fileno()
        right.fileno()
        left.close()
        del right
        _run(ctx, int)
    assert _descriptors() <= before + 2


def test_two_readers_of_one_end_get_each_message_once(ctx: Any) -> None:
    left, right = ctx.Pipe()
    got: list[int] = []

    def read(end: Any) -> None:
        while True:
            try:
                got.append(end.recv())
            except EOFError:
                return

    readers = [ctx.Process(target=read, args=(right,)) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(500):
        left.send(number)
    left.close()
    for reader in readers:
        reader.join(PATIENCE)
    assert sorted(got) == [*range(500)]


def test_a_pipe_does_not_pickle(ctx: Any) -> None:
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(ctx.Pipe()[0])


# -- queues --------------------------------------------------------------------------------------


def test_a_queue_passes_objects_in_order_and_as_they_are(ctx: Any) -> None:
    ours = ctx.Queue()
    thing = object()
    ours.put(thing)
    ours.put_nowait(2)
    assert (ours.qsize(), ours.empty(), ours.full()) == (2, False, False)
    assert ours.get() is thing
    assert ours.get_nowait() == 2
    with pytest.raises(queue.Empty):
        ours.get(timeout=0.01)
    with pytest.raises(queue.Empty):
        ours.get(True, -1)


def test_a_full_queue_says_so(ctx: Any) -> None:
    ours = ctx.Queue(1)
    ours.put(1)
    assert ours.full()
    with pytest.raises(queue.Full):
        ours.put_nowait(2)
    with pytest.raises(queue.Full):
        ours.put(2, timeout=0.01)


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_each_process_closes_its_own_handle_of_a_queue(
    ctx: Any, gate: threading.Event, kind: str
) -> None:
    ours = getattr(ctx, kind)()

    def child(theirs: Any) -> None:
        gate.wait(PATIENCE)
        theirs.put(1)
        theirs.close()

    process = ctx.Process(target=child, args=(ours,))
    process.start()
    other = ctx.Process(target=lambda theirs: theirs.close(), args=(ours,))
    other.start()
    other.join(PATIENCE)
    gate.set()
    process.join(PATIENCE)
    assert (process.exitcode, ends(ours.get)) == (0, 1)


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue"])
def test_a_closed_queue_says_so(ctx: Any, kind: str) -> None:
    ours = getattr(ctx, kind)()
    ours.close()
    ours.close()
    for use in (lambda: ours.put(1), ours.get):
        with pytest.raises(ValueError, match="closed"):
            use()
    ours.join_thread()
    ours.cancel_join_thread()


def test_a_closed_simple_queue_says_so(ctx: Any) -> None:
    ours = ctx.SimpleQueue()
    ours.put(1)
    ours.close()
    with pytest.raises(OSError, match="closed"):
        ours.get()


def test_a_joinable_queue_is_joined_when_all_is_done(ctx: Any) -> None:
    ours = ctx.JoinableQueue()
    for number in range(3):
        ours.put(number)
    joiner = threading.Thread(target=ours.join, daemon=True)
    joiner.start()
    for _ in range(3):
        assert joiner.is_alive()
        ours.get()
        ours.task_done()
    joiner.join(PATIENCE)
    assert not joiner.is_alive()
    with pytest.raises(ValueError, match="too many"):
        ours.task_done()


# -- locks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_locks_have_multiprocessings_signature(ctx: Any, kind: str) -> None:
    lock = getattr(ctx, kind)()
    assert list(inspect.signature(lock.acquire).parameters) == ["block", "timeout"]
    assert lock.acquire(block=True, timeout=None) is True
    lock.release()
    with lock as entered:
        assert entered is True


@pytest.mark.parametrize("kind", ["Lock", "Semaphore", "BoundedSemaphore"])
def test_a_lock_that_is_taken_is_not_taken_twice(ctx: Any, kind: str) -> None:
    lock = getattr(ctx, kind)()
    lock.acquire()
    assert lock.acquire(block=False) is False
    assert lock.acquire(True, 0.01) is False  # noqa: FBT003 - multiprocessing's signature
    assert lock.acquire(block=True, timeout=-1) is False
    assert lock.acquire(timeout=0) is False


def test_an_rlock_is_its_holders(ctx: Any) -> None:
    lock = ctx.RLock()
    assert lock.acquire()
    assert lock.acquire()
    taken: list[bool] = []
    _run(ctx, lambda: taken.append(lock.acquire(block=False)))
    assert taken == [False]
    lock.release()
    lock.release()


def test_a_bounded_semaphore_is_bounded(ctx: Any) -> None:
    semaphore = ctx.BoundedSemaphore(2)
    assert semaphore.get_value() == 2
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()
    plain = ctx.Semaphore(0)
    plain.release()
    assert plain.get_value() == 1


@pytest.mark.parametrize("lock", [None, "Lock", "RLock"])
def test_a_condition_wakes_who_waits(ctx: Any, lock: str | None) -> None:
    condition = ctx.Condition(getattr(ctx, lock)() if lock else None)
    woken: list[bool] = []

    def wait() -> None:
        with condition:
            condition.notify_all()
            woken.append(condition.wait_for(lambda: bool(go), PATIENCE))

    go: list[int] = []
    with condition:
        process = ctx.Process(target=wait)
        process.start()
        assert condition.wait(PATIENCE)
        go.append(1)
        condition.notify()
    process.join(PATIENCE)
    assert woken == [True]
    with condition:
        assert condition.wait(0.01) is False


def test_an_event_is_seen_by_all(ctx: Any) -> None:
    event = ctx.Event()
    assert event.wait(0.01) is False
    process = ctx.Process(target=event.set)
    process.start()
    assert event.wait(PATIENCE)
    process.join(PATIENCE)
    event.clear()
    assert not event.is_set()


def test_a_barrier_lets_all_go_together_and_breaks(ctx: Any) -> None:
    ran: list[int] = []
    barrier = ctx.Barrier(3, action=lambda: ran.append(1))
    processes = [ctx.Process(target=barrier.wait, args=(PATIENCE,)) for _ in range(2)]
    for process in processes:
        process.start()
    barrier.wait(PATIENCE)
    for process in processes:
        process.join(PATIENCE)
    assert (ran, barrier.parties, barrier.n_waiting) == ([1], 3, 0)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(0.01)
    assert barrier.broken


# -- shared memory and managers ------------------------------------------------------------------


def test_values_and_arrays_are_shared_under_a_lock(ctx: Any) -> None:
    value, array = ctx.Value("i", 3), ctx.Array("d", [1, 2])

    def child() -> None:
        for _ in range(1000):
            with value.get_lock():
                value.value += 1
        array[0] = 7

    processes = [ctx.Process(target=child) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert (value.value, array[:]) == (3003, [7.0, 2.0])


def test_raw_ones_have_no_lock_and_a_given_lock_is_used(ctx: Any) -> None:
    assert not hasattr(ctx.RawValue("i", 1), "get_lock")
    assert ctx.RawArray("i", 3)[:] == [0, 0, 0]
    lock = ctx.Lock()
    assert ctx.Value("i", 1, lock=lock).get_lock() is lock
    assert not hasattr(ctx.Value("i", 1, lock=False), "get_lock")
    with pytest.raises(AttributeError):
        ctx.Value("i", 1, lock="navalue")


def test_a_manager_makes_everything(ctx: Any) -> None:
    with ctx.Manager() as manager:
        shared, mapping, space = manager.list([1]), manager.dict(a=1), manager.Namespace(x=1)
        value, array, channel = manager.Value("i", 5), manager.Array("i", [1]), manager.Queue()

        def child() -> None:
            shared.append(2)
            mapping["b"] = 2
            space.y = 3
            value.value = 6
            array[0] = 9
            channel.put(1)

        assert _run(ctx, child).exitcode == 0
        assert (list(shared), dict(mapping), space.y) == ([1, 2], {"a": 1, "b": 2}, 3)
        assert (value.value, array[0], channel.get()) == (6, 9, 1)
        for kind in ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"):
            with getattr(manager, kind)():
                pass
        manager.Event().set()
        assert manager.Barrier(1).wait() == 0
        with manager.Pool(1) as pool:
            assert pool.map(abs, [-1]) == [1]


# -- the context ---------------------------------------------------------------------------------


def test_the_context_has_the_whole_api_of_multiprocessings(ctx: Any) -> None:
    names = {name for name in dir(multiprocessing.get_context()) if not name.startswith("_")}
    assert {name for name in names if not hasattr(ctx, name)} == set()
    assert isinstance(ctx, BaseContext)


def test_the_context_knows_itself(ctx: Any) -> None:
    assert ctx.get_context() is ctx
    assert ctx.get_context("thread").name == ctx.get_start_method() == "thread"
    with pytest.raises(ValueError, match="cannot set start method"):
        ctx.set_start_method("thread")
    assert ctx.cpu_count() >= 1
    with ctx as entered:
        assert entered is ctx
    assert "thread" in repr(ctx)


def test_every_capability_has_a_meaning(ctx: Any) -> None:
    assert ctx.capabilities <= set(capabilities.MEANINGS)


# -- exits ---------------------------------------------------------------------------------------


def test_a_daemon_does_not_hold_up_the_exit() -> None:
    code = """
        process = ctx.Process(target=time.sleep, args=(60,), daemon=True)
        process.start()
        print("end")
    """
    done = python(THREAD + textwrap.dedent(code))
    assert (done.stdout, done.stderr, done.returncode) == ("end\n", "", 0)


def test_a_process_that_is_no_daemon_is_waited_for_at_exit() -> None:
    code = """
        ctx.Process(target=lambda: (time.sleep(0.1), print("ran"))).start()
    """
    done = python(THREAD + textwrap.dedent(code))
    assert (done.stdout, done.stderr, done.returncode) == ("ran\n", "", 0)


_EVERYTHING = """
    import multiprocessing.connection
    def fail(): raise ValueError
    reader, writer = ctx.Pipe(duplex=False)
    def child(end, queue):
        queue.put(1)
        end.send(2)
    queue = ctx.Queue()
    process = ctx.Process(target=child, args=(writer, queue))
    process.start()
    writer.close()
    process.join()
    failing = ctx.Process(target=fail)
    failing.start()
    failing.join()
    queue.close()
    queue.join_thread()
    with ctx.Executor(2) as executor, ctx.Pool(2) as pool:
        good = (
            list(executor.map(abs, range(100))) == [*range(100)]
            and pool.map(abs, [-1]) == [1]
            and executor.submit(fail).exception() is not None
            and reader.recv() == 2
            and failing.exitcode == 1
            and bool(multiprocessing.connection.wait([process.sentinel], 1))
        )
    os._exit(7 if good else 1)
"""


@pytest.mark.parametrize("options", [["-O"], ["-OO"], ["-B", "-W", "error"]], ids=str)
def test_everything_works_with_the_options_of_python(options: list[str]) -> None:
    done = python(THREAD + textwrap.dedent(_EVERYTHING), *options)
    assert done.returncode == 7, done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_everything_works_with_closed_streams(closed: str) -> None:
    code = THREAD + textwrap.dedent(_EVERYTHING)
    command = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code]
    assert subprocess.run(command, timeout=20, check=False).returncode == 7


def _with_few_descriptors(code: str) -> subprocess.CompletedProcess[bytes]:
    command = ["sh", "-c", 'ulimit -n 256; exec "$0" -c "$1"', sys.executable, THREAD + code]
    return subprocess.run(command, timeout=30, check=False, capture_output=True)


def test_everything_works_with_few_descriptors() -> None:
    many = """
    for _ in range(400):
        process = ctx.Process(target=int)
        process.start()
        process.join()
        left, right = ctx.Pipe()
        left.fileno(), right.fileno()
    """
    done = _with_few_descriptors(textwrap.dedent(many) + textwrap.dedent(_EVERYTHING))
    assert done.returncode == 7, done.stderr


def test_many_live_processes_fit_few_descriptors_or_say_why_not() -> None:
    code = """
        gate = threading.Event()
        started = []
        try:
            for _ in range(300):
                process = ctx.Process(target=gate.wait)
                process.start()
                started.append(process)
        except OSError as error:
            print(error.errno)
        gate.set()
        for process in started:
            process.join()
    """
    done = _with_few_descriptors(textwrap.dedent(code))
    assert (done.returncode, done.stderr) == (0, b"")


def test_logging_and_support_calls_do_no_harm(ctx: Any) -> None:
    assert ctx.get_logger().name == "multiprocessing"
    ctx.freeze_support()
    ctx.allow_connection_pickling()
    ctx.set_executable(sys.executable)
    ctx.set_forkserver_preload([])


def test_a_process_in_a_task_and_a_task_in_a_process(ctx: Any) -> None:
    def child(results: Any) -> None:
        with ctx.Executor(1) as executor:
            results.put(executor.submit(int, "3").result(PATIENCE))

    results = ctx.Queue()
    with ctx.Executor(1) as executor:
        executor.submit(_run, ctx, child, results).result(PATIENCE)
    assert results.get(timeout=PATIENCE) == 3


def test_time_spent_joining_with_a_timeout_is_bounded(ctx: Any, gate: threading.Event) -> None:
    process = ctx.Process(target=gate.wait, args=(PATIENCE,))
    process.start()
    begin = time.monotonic()
    process.join(0.05)
    assert time.monotonic() - begin < 5
    assert process.exitcode is None
    gate.set()
    process.join(PATIENCE)
