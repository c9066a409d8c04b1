"""`polyexec contexts`, and the commands of plugins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import polyexec

if TYPE_CHECKING:
    from cli.commandline import CommandLine

BACKENDS = "polyexec.backends"
PLUGINS = "polyexec.plugins"
PLUGIN = """
import click, polyexec

@click.command({name!r})
def command():
    print("from the plugin")

@polyexec.hookimpl
def polyexec_cli_commands():
    return {commands}
"""


def listed(cli: CommandLine) -> dict[str, dict[str, Any]]:
    """Return the rows of `contexts --json` by their names."""
    done = cli.run("contexts", "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_a_context_is_listed_with_what_it_can_do(cli: CommandLine, context: str) -> None:
    row = listed(cli)[context]
    assert row["status"] == "usable"
    assert row["version"]
    assert set(row["capabilities"]) == polyexec.get_context(context).capabilities


def test_the_default_is_marked(cli: CommandLine, context: str) -> None:
    cli.environment["POLYEXEC_CONTEXT"] = context
    assert [name for name, row in listed(cli).items() if row["default"]] == [context]


def test_a_default_that_does_not_exist_is_a_line_of_warning(cli: CommandLine) -> None:
    cli.environment["POLYEXEC_CONTEXT"] = "nonesuch"
    done = cli.run("contexts")
    assert (done.returncode, done.stdout[:7]) == (0, b"CONTEXT")
    assert done.stderr.startswith(b"polyexec: warning: no context is called 'nonesuch'")


def test_a_broken_context_is_listed_with_the_reason(cli: CommandLine) -> None:
    cli.install("broken_backend", BACKENDS, {"broken": "broken_backend"}, "import no_such_module")
    row = listed(cli)["broken"]
    assert (row["distribution"], row["status"]) == ("broken_backend", "broken")
    assert "no_such_module" in row["reason"]


def test_a_context_that_is_claimed_twice_is_broken(cli: CommandLine) -> None:
    cli.install("first_backend", BACKENDS, {"twice": "first_backend"})
    cli.install("second_backend", BACKENDS, {"twice": "second_backend"})
    row = listed(cli)["twice"]
    assert row["status"] == "broken"
    assert "first_backend" in row["reason"]
    assert "second_backend" in row["reason"]


def test_a_blocked_context_is_listed_as_such(cli: CommandLine) -> None:
    cli.install("broken_backend", BACKENDS, {"broken": "broken_backend"}, "import no_such_module")
    cli.environment["POLYEXEC_BLOCK"] = "broken"
    row = listed(cli)["broken"]
    assert (row["status"], row["reason"]) == ("blocked", "blocked by POLYEXEC_BLOCK")


def test_the_table_is_one_line_for_each_and_explains_capabilities(cli: CommandLine) -> None:
    cli.install("broken_backend", BACKENDS, {"broken": "broken_backend"}, "import no_such_module")
    done = cli.run("contexts")
    assert (done.returncode, done.stderr) == (0, b"")
    table, _, meanings = done.stdout.decode().partition("\n\n")
    assert len(table.splitlines()) == 1 + len(listed(cli))
    assert " broken: " in table
    for line in meanings.splitlines():
        name, meaning = line.split(maxsplit=1)
        assert meaning == polyexec.capabilities.MEANINGS[name]


def test_a_plugin_adds_a_command(cli: CommandLine) -> None:
    cli.install("hello", PLUGINS, {"hello": "hello"}, _plugin("hello"))
    done = cli.run("hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"from the plugin\n", b"")
    assert b"hello" in cli.run("--help").stdout


def test_a_plugin_cannot_silently_replace_a_command(cli: CommandLine) -> None:
    cli.install("pirate", PLUGINS, {"pirate": "pirate"}, _plugin("map"))
    done = cli.run("map", "tasks_here:upper", "a")
    assert (done.returncode, done.stdout) == (0, b"A\n")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("polyexec: warning: the command 'map' of pirate was left out, ")


@pytest.mark.parametrize("commands", ["[42]", "1 / 0", "7"])
def test_a_broken_plugin_is_a_line_of_warning(cli: CommandLine, commands: str) -> None:
    cli.install("sloppy", PLUGINS, {"sloppy": "sloppy"}, _plugin("hello", commands))
    done = cli.run("map", "tasks_here:upper", "a")
    assert (done.returncode, done.stdout) == (0, b"A\n")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("polyexec: warning: ")


def test_a_plugin_that_cannot_be_imported_is_a_line_of_warning(cli: CommandLine) -> None:
    cli.install("absent", PLUGINS, {"absent": "absent"}, "import no_such_module")
    done = cli.run("map", "tasks_here:upper", "a")
    assert (done.returncode, done.stdout) == (0, b"A\n")
    (line,) = done.stderr.decode().splitlines()
    assert "absent" in line


def _plugin(name: str, commands: str = "[command]") -> str:
    return PLUGIN.format(name=name, commands=commands)
