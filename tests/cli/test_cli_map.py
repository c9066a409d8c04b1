"""`polyexec map`: items in, results out."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from cli.commandline import CommandLine

REFUSING = """
import polyexec

class RefusingExecutor(polyexec.Executor):
    def accept(self, task):
        raise RuntimeError("no room")

    def stop(self, wait):
        pass

class RefusingContext(polyexec.Context):
    name = "refusing"

    def Executor(self, max_workers=None, **options):
        return RefusingExecutor(self, max_workers)

@polyexec.hookimpl
def polyexec_create_context(name, options):
    return RefusingContext()
"""


def test_arguments_are_mapped_in_order(cli: CommandLine, context: str) -> None:
    done = cli.run("map", "--context", context, "tasks_here:upper", "a", "b", "c")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"A\nB\nC\n", b"")


def test_lines_of_standard_input_are_mapped_in_order(cli: CommandLine, context: str) -> None:
    done = cli.run("map", "--context", context, "tasks_here:upper", stdin=b"a\nb\nc\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"A\nB\nC\n", b"")


def test_unordered_results_do_not_wait_for_a_slow_item(cli: CommandLine) -> None:
    arguments = ("--unordered", "--workers", "2", "tasks_here:block", "block", "a", "b")
    with cli.start("map", *arguments) as process:
        assert process.stdout
        assert {process.stdout.readline(), process.stdout.readline()} == {b"a\n", b"b\n"}
        process.kill()


def test_ordered_results_are_complete_when_unordered_are(cli: CommandLine) -> None:
    done = cli.run("map", "--unordered", "tasks_here:same", *"abcdef")
    assert sorted(done.stdout.split()) == [b"a", b"b", b"c", b"d", b"e", b"f"]


def test_a_failing_item_is_reported_and_the_others_go_on(cli: CommandLine, context: str) -> None:
    done = cli.run("map", "--context", context, "builtins:int", "1", "x", "3")
    assert (done.returncode, done.stdout) == (1, b"1\n3\n")
    failed, summary = done.stderr.decode().splitlines()
    assert failed.startswith("polyexec: 'x' failed: ValueError: invalid literal for int()")
    assert summary == "polyexec: 1 of 3 items failed"


def test_a_message_of_many_lines_is_reported_on_one(cli: CommandLine) -> None:
    done = cli.run("map", "tasks_here:newline", "a")
    assert done.stderr.splitlines()[0] == b"polyexec: 'a' failed: ValueError: first second"


def test_an_item_that_exits_fails_alone(cli: CommandLine, context: str) -> None:
    done = cli.run("map", "--context", context, "tasks_here:leave", "a")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == b"polyexec: 'a' failed: SystemExit: a"


def test_an_item_that_kills_its_worker_fails_alone(
    cli: CommandLine, isolating_context: str
) -> None:
    items = ("a", "die", "b")
    done = cli.run("map", "--context", isolating_context, "tasks_here:die", *items)
    assert (done.returncode, done.stdout) == (1, b"a\nb\n")
    assert b"polyexec: 'die' failed: WorkerLostError: " in done.stderr


def test_tracebacks_are_shown_on_request(cli: CommandLine) -> None:
    done = cli.run("map", "--traceback", "tasks_here:newline", "a")
    assert b'tasks_here.py", line' in done.stderr
    assert b"_chunk.py" not in done.stderr


def test_none_is_an_empty_line(cli: CommandLine) -> None:
    assert cli.run("map", "tasks_here:nothing", "a", "b").stdout == b"\n\n"


def test_json_pairs_items_with_results(cli: CommandLine) -> None:
    done = cli.run("map", "--json", "builtins:int", "1", "x")
    first, second = map(json.loads, done.stdout.splitlines())
    assert first == {"item": "1", "result": 1}
    assert second["item"] == "x"
    assert second["error"].startswith("ValueError: ")


@pytest.mark.parametrize(
    ("function", "item", "representation"),
    [("unspeakable", "a", "{1, 2}"), ("number", "nan", "nan"), ("number", "inf", "inf")],
)
def test_what_json_has_no_form_for_is_its_repr(
    cli: CommandLine, function: str, item: str, representation: str
) -> None:
    done = cli.run("map", "--json", f"tasks_here:{function}", item)
    assert json.loads(done.stdout) == {"item": item, "repr": representation}


def test_a_failing_item_is_run_again_when_asked(cli: CommandLine, context: str) -> None:
    arguments = ("--context", context, "--retries", "1", "tasks_here:second_time", "seen")
    done = cli.run("map", *arguments)
    assert (done.returncode, done.stdout) == (0, b"done\n")


def test_the_last_failure_counts_when_retries_are_used_up(cli: CommandLine) -> None:
    done = cli.run("map", "--retries", "2", "builtins:int", "x", "1")
    assert (done.returncode, done.stdout) == (1, b"1\n")
    assert b"polyexec: 'x' failed: ValueError: " in done.stderr


def test_an_item_that_runs_too_long_is_stopped(cli: CommandLine, killing_context: str) -> None:
    limits = ("--context", killing_context, "--timeout", "1")
    done = cli.run("map", *limits, "tasks_here:block", "a", "block", "b")
    assert (done.returncode, done.stdout) == (1, b"a\nb\n")
    assert b"polyexec: 'block' failed: TaskTimeoutError: " in done.stderr


def test_a_timeout_needs_a_context_that_can_stop_tasks(
    cli: CommandLine, context_that_cannot_kill: str
) -> None:
    limits = ("--context", context_that_cannot_kill, "--timeout", "1")
    done = cli.run("map", *limits, "tasks_here:same", "a")
    assert (done.returncode, done.stdout) == (2, b"")
    assert len(done.stderr.splitlines()) == 1


def test_a_fixed_chunksize_changes_nothing_but_the_tasks(cli: CommandLine) -> None:
    lines = b"".join(b"%d\n" % number for number in range(100))
    done = cli.run("map", "--chunksize", "7", "tasks_here:same", stdin=lines)
    assert done.stdout == lines


def test_a_function_that_reaches_no_worker_is_named_once(cli: CommandLine) -> None:
    cli.install("refusing", "polyexec.backends", {"refusing": "refusing"}, REFUSING)
    done = cli.run("map", "--context", "refusing", "tasks_here:same", stdin=b"a\n" * 10_000)
    assert (done.returncode, done.stdout) == (1, b"")
    lines = done.stderr.splitlines()
    assert lines[-1] == b"polyexec: workers cannot get the function: RuntimeError: no room"
    assert len(lines) < 1000


def test_items_that_begin_with_a_dash_follow_two(cli: CommandLine) -> None:
    assert cli.run("map", "builtins:int", "--", "-5").stdout == b"-5\n"


def test_the_default_context_can_be_chosen_by_the_environment(
    cli: CommandLine, context: str
) -> None:
    cli.environment["POLYEXEC_CONTEXT"] = context
    assert cli.run("map", "tasks_here:upper", "a").stdout == b"A\n"


def test_modules_of_the_current_directory_are_found_by_the_console_script(
    cli: CommandLine, tmp_path: Path
) -> None:
    script = tmp_path / "bin" / "polyexec"
    script.parent.mkdir()
    script.write_text("import sys\nfrom polyexec.cli import main\nsys.exit(main())\n")
    arguments = ("map", "tasks_here:upper", "a")
    done = cli.run(*arguments, prefix=[sys.executable, str(script)])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"A\n", b"")
