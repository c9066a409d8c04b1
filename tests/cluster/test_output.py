"""What tasks print on another machine reaches their program: labelled, in order, not too much."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cluster.commands import PATIENCE, TESTS

if TYPE_CHECKING:
    from cluster.commands import Commands

LABEL = re.compile(r"^\[here/ZmqProcess-\d+\] ")

PROGRAM = """
import sys
import polyexec
from cluster import errands

with polyexec.get_context("zmq", connection_file=sys.argv[1]) as context:
    with context.Executor(1) as executor:
        value = executor.submit(getattr(errands, sys.argv[2]), int(sys.argv[3])).result(60)
        print("returned", value, flush=True)
"""


def _run(commands: Commands, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, str(commands.connection_file), *arguments]
    return subprocess.run(
        command, cwd=TESTS, capture_output=True, text=True, check=True, timeout=PATIENCE
    )


@pytest.fixture
def cluster(commands: Commands) -> Commands:
    """Return a cluster of one node."""
    commands.head()
    commands.node("--name", "here")
    return commands


def test_what_a_task_prints_comes_labelled_and_before_its_result(cluster: Commands) -> None:
    done = _run(cluster, "talk", "3")
    lines = done.stdout.splitlines()
    printed = [LABEL.sub("", line) for line in lines if LABEL.match(line)]
    assert printed[:4] == ["line 0", "line 1", "line 2", "from a child"]
    assert lines.index("returned 3") > 3
    errors = [LABEL.sub("", line) for line in done.stderr.splitlines()]
    assert errors == ["error 0", "error 1", "error 2"]


def test_a_last_line_without_an_end_is_not_lost(cluster: Commands) -> None:
    assert "no newline" in _run(cluster, "talk", "1").stdout


def test_a_flood_of_output_is_cut_and_says_so_or_comes_whole(cluster: Commands) -> None:
    size = 20_000_000
    done = _run(cluster, "shout", str(size))
    left_out = sum(map(int, re.findall(r"\((\d+) bytes of output are left out", done.stdout)))
    came = sum(100 for line in done.stdout.splitlines() if line.endswith("x" * 99))
    assert abs(came + left_out - size) <= 100_000
    assert f"returned {size}" in done.stdout
