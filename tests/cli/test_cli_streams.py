"""`polyexec map` as a filter: odd bytes, endless input, closed pipes, terminals."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cli.commandline import CommandLine

MEASURED = """
import re, sys
from polyexec.cli import main
code = main()
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""
posix = pytest.mark.skipif(os.name == "nt", reason="about POSIX shells and terminals")


def test_empty_input_gives_empty_output(cli: CommandLine) -> None:
    done = cli.run("map", "tasks_here:upper")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_line_ends_are_stripped_and_empty_lines_are_items(cli: CommandLine) -> None:
    done = cli.run("map", "--json", "tasks_here:same", stdin=b"a\r\n\n b\rc \nd\r")
    assert done.stdout.splitlines() == [
        b'{"item": "a", "result": "a"}',
        b'{"item": "", "result": ""}',
        b'{"item": " b\\rc ", "result": " b\\rc "}',
        b'{"item": "d\\r", "result": "d\\r"}',
    ]


def test_bytes_that_are_not_utf8_come_out_as_they_went_in(cli: CommandLine, context: str) -> None:
    lines = bytes(byte for byte in range(256) if byte not in b"\r\n") + b"\n\xc3\xa9\n"
    done = cli.run("map", "--context", context, "tasks_here:same", stdin=lines)
    assert (done.returncode, done.stdout, done.stderr) == (0, lines, b"")


def test_a_failing_item_that_is_not_utf8_is_reported(cli: CommandLine) -> None:
    done = cli.run("map", "builtins:int", stdin=b"caf\xe9\n")
    assert done.stderr.startswith(rb"polyexec: 'caf\udce9' failed: ValueError: ")


def test_a_result_that_no_bytes_stand_for_is_escaped(cli: CommandLine) -> None:
    assert cli.run("map", "builtins:eval", r"'\ud800'").stdout == b"\\ud800\n"


def test_a_line_longer_than_a_pipe_holds_is_one_item(cli: CommandLine) -> None:
    line = b"x" * 1_000_000 + b"\n"
    assert cli.run("map", "tasks_here:same", stdin=line + line).stdout == line + line


def test_each_result_comes_before_the_next_line_is_typed(cli: CommandLine, context: str) -> None:
    with cli.start("map", "--context", context, "tasks_here:upper") as process:
        assert process.stdin
        assert process.stdout
        for line in (b"a\n", b"b\n", b"c\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line.upper()


def test_many_lines_come_out_in_order(cli: CommandLine, context: str) -> None:
    lines = b"".join(b"%d\n" % number for number in range(100_000))
    done = cli.run("map", "--context", context, "tasks_here:same", stdin=lines)
    assert done.stdout == lines


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("order", ["--json", "--unordered"])
def test_memory_does_not_grow_with_the_input(cli: CommandLine, order: str) -> None:
    (cli.folder / "measured.py").write_text(MEASURED)
    few, many = (
        int(
            cli.shell(
                f"yes {'x' * 1000} | head -{lines}"
                f' | "{sys.executable}" measured.py map {order} tasks_here:same >results'
            ).stderr
        )
        for lines in (10, 100_000)
    )
    assert many - few < 30_000  # kB, for an input of 100 MB


@posix
def test_endless_input_ends_with_the_reader_of_the_results(cli: CommandLine) -> None:
    done = cli.shell("yes | polyexec map tasks_here:upper | head -2; echo ${PIPESTATUS[1]}")
    assert (done.stdout, done.stderr) == (b"Y\nY\n0\n", b"")


@posix
def test_a_reader_that_has_gone_is_noticed_while_tasks_run(cli: CommandLine, context: str) -> None:
    done = cli.shell(
        f"polyexec map --context {context} --workers 2 tasks_here:block a block block | head -1;"
        " echo ${PIPESTATUS[0]}"
    )
    assert (done.stdout, done.stderr) == (b"a\n0\n", b"")


@posix
def test_items_that_failed_before_the_reader_had_gone_count(cli: CommandLine) -> None:
    done = cli.shell(
        "polyexec map --workers 1 builtins:int x 1 x 2 | head -1; echo ${PIPESTATUS[0]}"
    )
    assert done.stdout == b"1\n1\n"


@posix
def test_closed_standard_input_is_named(cli: CommandLine) -> None:
    done = cli.shell("polyexec map tasks_here:upper <&-")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"polyexec: standard input is closed; ")


@posix
def test_closed_standard_input_does_not_matter_to_arguments(cli: CommandLine) -> None:
    assert cli.shell("polyexec map tasks_here:upper a <&-").stdout == b"A\n"


@posix
def test_closed_standard_output_is_named(cli: CommandLine) -> None:
    done = cli.shell("polyexec map tasks_here:upper a >&-")
    assert done.returncode == 2
    assert done.stderr.startswith(b"polyexec: standard output is closed; ")


@posix
def test_closed_standard_error_costs_no_result(cli: CommandLine) -> None:
    done = cli.shell("polyexec map builtins:int 1 x 3 2>&-")
    assert (done.returncode, done.stdout) == (1, b"1\n3\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_is_named(cli: CommandLine) -> None:
    done = cli.shell("polyexec map tasks_here:upper a >/dev/full")
    assert done.returncode == 1
    assert done.stderr == b"polyexec: results could not be written: No space left on device\n"


@posix
def test_an_input_that_cannot_be_read_is_named(cli: CommandLine) -> None:
    done = cli.shell("polyexec map tasks_here:upper 0>written")
    assert done.returncode == 1
    assert done.stderr == b"polyexec: standard input could not be read: Bad file descriptor\n"


@posix
def test_a_progress_bar_is_shown_on_a_terminal(cli: CommandLine) -> None:
    shown, results = _on_terminal(cli, "tasks_here:upper", "a", "b")
    assert b"2/2" in shown
    assert results == b"A\nB\n"


@posix
def test_failures_are_shown_above_the_progress_bar(cli: CommandLine) -> None:
    shown, results = _on_terminal(cli, "builtins:int", "1", "x")
    assert b"polyexec: 'x' failed: ValueError: " in shown
    assert b"polyexec: 1 of 2 items failed\r\n" in shown
    assert results == b"1\n"


@posix
def test_no_progress_bar_is_mixed_with_results_on_a_terminal(cli: CommandLine) -> None:
    shown, _ = _on_terminal(cli, "tasks_here:upper", "a", "b", results_too=True)
    assert shown == b"A\r\nB\r\n"


def _on_terminal(
    cli: CommandLine, *arguments: str, results_too: bool = False
) -> tuple[bytes, bytes]:
    """Run map with standard error on a terminal; return what that showed, and the results."""
    ours, theirs = os.openpty()
    cli.environment |= {"TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(
        [*cli.prefix, "map", *arguments],
        stdout=theirs if results_too else subprocess.PIPE,
        stderr=theirs,
        cwd=cli.folder,
        env=os.environ | cli.environment,
    ) as process:
        os.close(theirs)
        shown = _read_to_end(ours)
        results = process.stdout.read() if process.stdout else b""
    os.close(ours)
    return shown, results


def _read_to_end(terminal: int) -> bytes:
    shown = b""
    while True:
        try:
            block = os.read(terminal, 4096)
        except OSError:  # Linux's way to say that the other side is closed
            return shown
        if not block:
            return shown
        shown += block
