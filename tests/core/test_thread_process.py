"""The thread context's Process."""

from __future__ import annotations

import io
import multiprocessing
import multiprocessing.connection
import multiprocessing.managers
import os
import sys
import textwrap
import threading
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import PATIENCE, THREAD, ends, python, run
from polyexec import capabilities
from polyexec_thread._process import ThreadPopen

if TYPE_CHECKING:
    import queue


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
    ("code", "exitcode"),
    [(None, 0), (0, 0), (3, 3), (True, 1), (-1, 255), (300, 44), ("text", 1), (1.5, 1)],
)
def test_sys_exit_gives_the_exit_code(
    ctx: Any, code: Any, exitcode: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ctx, sys.exit, code).exitcode == exitcode
    written = capsys.readouterr().err
    assert written == (f"{code}\n" if isinstance(code, (str, float)) else "")


def test_an_exception_is_reported_and_gives_exit_code_1(
    ctx: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ctx, int, "no number", name="mine").exitcode == 1
    written = capsys.readouterr().err
    assert written.startswith("Process mine:\nTraceback")
    assert "no number" in written


def test_an_exit_that_cannot_be_shown_still_ends_the_process(
    ctx: Any, uncaught: queue.SimpleQueue[Any]
) -> None:
    class _Unshown:
        def __str__(self) -> str:
            raise ValueError("no text")

    process = run(ctx, sys.exit, _Unshown())
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
    process = run(ctx, int, "no number")
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
        run(ctx, grandchild, name="grandchild")

    run(ctx, child, name="child")
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
            run(ctx, int)

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


def test_who_has_joined_finds_the_sentinel_ready(
    ctx: Any, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_end = ThreadPopen._signal_end
    joinable: list[bool] = []

    def observed(popen: ThreadPopen) -> None:
        joinable.append(popen._ended.is_set())
        signal_end(popen)

    monkeypatch.setattr(ThreadPopen, "_signal_end", observed)
    process = ctx.Process(target=gate.wait, args=(PATIENCE,))
    process.start()
    sentinel = process.sentinel
    gate.set()
    process.join(PATIENCE)
    assert multiprocessing.connection.wait([sentinel], 0) == [sentinel]
    assert joinable == [False]


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
