"""Ctrl-C."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from cli.commandline import CommandLine

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")


@pytest.fixture(autouse=True)
def heed_ctrl_c() -> Iterator[None]:
    """See to it that what we start heeds SIGINT, even if we run in the background of a script."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def test_ctrl_c_ends_running_tasks_within_a_second(cli: CommandLine, context: str) -> None:
    arguments = ("--context", context, "--workers", "2", "tasks_here:block")
    with cli.start("map", *arguments, "a", "block", "b", "block") as process:
        assert _first_line(process) == b"a\n"
        seconds, results, errors = _interrupt(process)
    assert process.returncode == 130
    assert seconds < 1.5  # a second, and what a busy machine may add
    assert results == b""
    assert errors == b"polyexec: interrupted; items done: 1\n"


def test_ctrl_c_ends_a_wait_for_input(cli: CommandLine, context: str) -> None:
    with cli.start("map", "--context", context, "tasks_here:block") as process:
        assert process.stdin
        process.stdin.write(b"a\n")
        process.stdin.flush()
        assert _first_line(process) == b"a\n"
        seconds, _, errors = _interrupt(process)
    assert process.returncode == 130
    assert seconds < 1.5
    assert errors == b"polyexec: interrupted; items done: 1\n"


def test_what_was_done_is_written_whole_and_only_once(cli: CommandLine) -> None:
    with cli.start("map", "tasks_here:same", *map(str, range(5000))) as process:
        assert _first_line(process) == b"0\n"
        _, results, _ = _interrupt(process)
    assert results == b"".join(b"%d\n" % number for number in range(1, results.count(b"\n") + 1))


def test_failures_are_counted_after_ctrl_c(cli: CommandLine) -> None:
    with cli.start("map", "tasks_here:number") as process:
        assert process.stdin
        process.stdin.write(b"x\n1\n")
        process.stdin.flush()
        assert _first_line(process) == b"1.0\n"
        _, _, errors = _interrupt(process)
    assert errors.splitlines()[1:] == [
        b"polyexec: 1 of 2 items failed",
        b"polyexec: interrupted; items done: 2",
    ]


def test_ctrl_c_ends_a_blocked_write(cli: CommandLine) -> None:
    items = ("x" * 60_000,) * 20
    with cli.start("map", "tasks_here:same", *items) as process:
        assert process.stdout
        assert process.stdout.read(1) == b"x"  # and no more: the pipe is full
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130


def test_ctrl_c_is_heeded_while_the_main_thread_does_not_hear_of_it(cli: CommandLine) -> None:
    # As if it came just before a wait: nothing interrupts that.
    with cli.start(
        "map", "--context", "thread", "tasks_here:interrupt_this_thread", "a"
    ) as process:
        assert process.wait() == 130


def test_a_child_that_a_task_forks_has_a_ctrl_c_of_its_own(cli: CommandLine) -> None:
    done = cli.run("map", "--context", "thread", "tasks_here:interrupt_a_child", *"abcdef")
    assert (done.returncode, done.stdout) == (0, b"7\n" * 6)


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout
    return process.stdout.readline()


def _interrupt(process: subprocess.Popen[bytes]) -> tuple[float, bytes, bytes]:
    """Press Ctrl-C, which workers get, too; return the time to the end, and what was written."""
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout
    assert process.stderr
    results, errors = process.stdout.read(), process.stderr.read()
    process.wait()
    return time.monotonic() - start, results, errors
