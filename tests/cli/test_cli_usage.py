"""Wrong usage is one line that names who, what and cure, and exit code 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cli.commandline import CommandLine


def complaint(cli: CommandLine, *arguments: str) -> str:
    """Return the one line that wrong usage gives."""
    done = cli.run(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("polyexec: ")
    return line.removeprefix("polyexec: ")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("tasks_here:uper", "module 'tasks_here' has no 'uper'; did you mean 'upper'"),
        ("task_here:upper", "there is no module 'task_here'; did you mean 'tasks_here'?"),
        ("os.pth:basename", "there is no module 'os.pth'; did you mean 'os.path'?"),
        ("tasks_here.py:upper", "there is no module 'tasks_here.py'; did you mean "),
        ("./tasks_here.py:upper", "'./tasks_here.py' is not the name of a module; did you mean "),
        ("a b:upper", "'a b' is not the name of a module; write it as in an import statement"),
        ("os.path.basename", "'os.path.basename' is not MODULE:FUNCTION; did you mean 'os.path:"),
        ("len", "'len' is not MODULE:FUNCTION; did you mean 'builtins:len'?"),
        ("nonsense", "'nonsense' is not MODULE:FUNCTION, as in 'nonsense:main'"),
        (":upper", "':upper' is not MODULE:FUNCTION, as in "),
        ("tasks_here:", "'tasks_here:' is not MODULE:FUNCTION, as in "),
        ("tasks_here:VALUE", "'tasks_here:VALUE' is not callable but of type 'int'; "),
        ("tasks_here:later", "'tasks_here:later' is an async function; "),
        ("builtins:str.uper", "object 'str' has no 'uper'; did you mean 'upper'"),
    ],
)
def test_a_function_that_is_not_there(cli: CommandLine, target: str, said: str) -> None:
    assert complaint(cli, "map", target, "a").startswith(said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--workers", "0"), "--workers must be a whole number of 1 or more, not '0'"),
        (("--workers", "two"), "--workers must be a whole number of 1 or more, not 'two'"),
        (("--retries", "-1"), "--retries must be a whole number of 0 or more, not '-1'"),
        (("--timeout", "0"), "--timeout must be a number of seconds greater than 0, not '0'"),
        (("--timeout", "nan"), "--timeout must be a number of seconds greater than 0, not 'nan'"),
        (("--chunksize", "0"), "--chunksize must be a whole number of 1 or more, not '0'"),
        (("--chunksize", "2", "--retries", "1"), "--chunksize 2 does not go with "),
        (("--context", "nonesuch"), "no context is called 'nonesuch'"),
        (("-5",), "; put -- before items that begin with a dash"),
    ],
)
def test_options_that_make_no_sense(
    cli: CommandLine, arguments: tuple[str, ...], said: str
) -> None:
    assert said in complaint(cli, "map", *arguments, "tasks_here:upper", "a").replace(
        ": -5", " '-5'"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "missing command; there are: contexts, drain, head, keys, map"),
        (("mpa",), "there is no command 'mpa'; there are: contexts, drain, head, keys, map"),
        (("map",), "missing argument 'MODULE:FUNCTION' (see polyexec map --help)"),
    ],
)
def test_a_command_line_that_is_too_short(
    cli: CommandLine, arguments: tuple[str, ...], said: str
) -> None:
    assert complaint(cli, *arguments).startswith(said)


def test_a_module_that_cannot_be_imported(cli: CommandLine) -> None:
    (cli.folder / "broken_here.py").write_text("import tasks_here\n1 / 0\n")
    assert complaint(cli, "map", "broken_here:upper", "a") == (
        "importing 'broken_here' failed: ZeroDivisionError: division by zero;"
        " --traceback shows where"
    )


def test_a_module_that_cannot_be_imported_shows_where_on_request(cli: CommandLine) -> None:
    (cli.folder / "broken_here.py").write_text("import no_such_module_here\n")
    done = cli.run("map", "--traceback", "broken_here:upper", "a")
    assert done.returncode == 2
    assert b'broken_here.py", line 1' in done.stderr
    assert done.stderr.splitlines()[-1].startswith(b"polyexec: importing 'broken_here' failed: ")


def test_help_and_version_are_on_standard_output(cli: CommandLine) -> None:
    assert b"MODULE:FUNCTION" in cli.run("map", "--help").stdout
    assert cli.run("--version").stdout.startswith(b"polyexec ")


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_the_extra_it_says_how_to_get_it(cli: CommandLine, package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None;"
        " from polyexec.cli import main; sys.exit(main())"
    )
    done = cli.run_code(code, "contexts")
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"polyexec: the command line needs {package};"
        " install it with: pip install 'polyexec[cli]'\n"
    )


def test_neither_click_nor_rich_is_imported_with_the_package(cli: CommandLine) -> None:
    code = "import sys, polyexec.cli._chunk; print({'click', 'rich'} & set(sys.modules))"
    assert cli.run_code(code).stdout.strip() == b"set()"
