"""The progress observer, in programs of its own, for it looks at their standard error."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

PROGRAM = """
import polyexec
with polyexec.get_context("thread").Executor(2) as executor:
    outcomes = list(executor.map(int, ["1", "x", "3"], return_exceptions=True))
print(len(outcomes))
"""


def _run_on_a_terminal(switch: str) -> tuple[str, str]:
    """Return what PROGRAM writes to standard output, and to a terminal as standard error."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"POLYEXEC_PROGRESS": switch, "TERM": "xterm", "COLUMNS": "100"},
        text=True,
    ) as program:
        os.close(theirs)
        drawn = b""
        try:
            while block := os.read(ours, 65536):
                drawn += block
        except OSError:  # how Linux tells that the other side of a terminal is closed
            pass
        os.close(ours)
        assert program.stdout is not None
        return program.stdout.read(), drawn.decode()


def _run(*command: str, switch: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"POLYEXEC_PROGRESS": switch},
        capture_output=True,
        text=True,
        check=True,
    )


def test_a_bar_counts_the_tasks_of_an_executor() -> None:
    printed, drawn = _run_on_a_terminal("1")
    assert printed == "3\n"
    assert "thread" in drawn
    assert "3/3" in drawn
    assert "1 failed" in drawn


@pytest.mark.parametrize("switch", ["", "0"])
def test_nothing_is_drawn_unless_it_is_switched_on(switch: str) -> None:
    assert _run_on_a_terminal(switch) == ("3\n", "")


def test_nothing_is_drawn_where_standard_error_is_no_terminal() -> None:
    run = _run("-c", PROGRAM, switch="1")
    assert (run.stdout, run.stderr) == ("3\n", "")


def test_the_command_says_how_to_switch_it() -> None:
    run = _run("-m", "polyexec", "progress", switch="0")
    assert "progress bars are off" in run.stdout
    assert "POLYEXEC_PROGRESS=1" in run.stdout
