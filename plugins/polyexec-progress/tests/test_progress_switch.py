"""What it leaves alone, and what the command says of the switch."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from progress_terminal import terminal_output

from polyexec_progress import _switch

if TYPE_CHECKING:
    import pytest

PROGRAM = """
import polyexec

def fail(): raise ValueError

with polyexec.get_context("thread").Executor(2) as executor:
    executor.map(abs, range(3), chunksize=1)
    executor.submit(fail)
"""
COMMAND = "import sys; sys.argv[1:] = ['progress']; from polyexec.cli import main; sys.exit(main())"


def test_the_terminal_has_its_cursor_in_the_end() -> None:
    written = terminal_output(PROGRAM, switch="1")
    assert written.rindex("\x1b[?25h") > written.rfind("\x1b[?25l")


def test_what_a_program_prints_meanwhile_stays_out_of_its_terminal() -> None:
    code = PROGRAM + "    executor.submit(int).result(); print('a result')"
    assert "a result" not in terminal_output(code, switch="1")


def test_no_task_calls_a_hook_while_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYEXEC_PROGRESS", raising=False)
    code = (
        "from polyexec_progress import plugin\n"
        "assert not [name for name in dir(plugin) if 'task' in name]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rich_is_not_imported_while_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYEXEC_PROGRESS", raising=False)
    code = "import sys, polyexec_progress; assert not {'rich', 'click'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_worker_process_shows_nothing() -> None:
    code = (
        "import multiprocessing\n"
        "from polyexec_progress._switch import obstacle\n"
        "with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "    print(pool.apply(obstacle), end='', file=__import__('sys').stderr)\n"
    )
    assert terminal_output(code, switch="1") == "this is a worker process"


def test_the_command_says_that_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYEXEC_PROGRESS", raising=False)
    run = subprocess.run([sys.executable, "-c", COMMAND], check=True, capture_output=True)
    assert run.stdout == b"progress bars are off; POLYEXEC_PROGRESS=1 switches them on\n"


def test_the_command_says_why_nothing_would_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYEXEC_PROGRESS", "1")
    run = subprocess.run([sys.executable, "-c", COMMAND], check=True, capture_output=True)
    assert b"on, but none would be drawn here: standard error is not a terminal" in run.stdout


def test_the_command_says_that_it_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYEXEC_PROGRESS", "1")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert _switch.sentence() == "progress bars are on; POLYEXEC_PROGRESS=0 switches them off"
