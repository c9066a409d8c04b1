"""The `polyexec` command: built-in commands, those of plugins, and one-line errors."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import click

from polyexec import PolyexecError, _registry
from polyexec.cli._contexts import contexts_command
from polyexec.cli._ending import INTERRUPTED
from polyexec.cli._map import map_command
from polyexec.cli._messages import complain, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

WRONG_USAGE = 2


class PolyexecGroup(click.Group):
    """The group of all commands; what a command returns is not taken for an exit code."""

    def invoke(self, ctx: click.Context) -> None:
        """Run the command that was asked for."""
        super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that *args* begins with, or say which ones there are."""
        if args[0] not in self.commands:
            raise click.UsageError(f"there is no command {args[0]!r}; {_known_commands()}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=PolyexecGroup,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="polyexec", message="%(prog)s %(version)s")
def app() -> None:
    """One parallel API, any engine."""


app.add_command(contexts_command)
app.add_command(map_command)


def run(arguments: list[str]) -> int:
    """Run the command named by *arguments*; every error that is the user's to mend is one line."""
    _add_plugin_commands()
    try:
        code = app.main(arguments, prog_name="polyexec", standalone_mode=False)
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        complain(_sentence(error))
        return error.exit_code
    except PolyexecError as error:
        complain(one_line(str(error)))
        return WRONG_USAGE
    return code if isinstance(code, int) else 0


def _add_plugin_commands() -> None:
    """Add what `polyexec_cli_commands` hooks offer; what is wrong with one is a line of warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        offered = _plugin_commands()
    for message in [str(warning.message) for warning in caught] + list(_add(offered)):
        complain(f"warning: {one_line(message)}")


def _plugin_commands() -> list[object]:
    try:
        return list(_registry.current().cli_commands())
    except Exception as error:  # noqa: BLE001 - the border where plugins are loaded
        warnings.warn(
            f"no plugin's commands could be added: {type(error).__name__}: {error}", stacklevel=1
        )
        return []


def _add(offered: Iterable[object]) -> Iterable[str]:
    """Add each click command under a name that is free, and yield a sentence for each other one."""
    for command in offered:
        if not isinstance(command, click.Command) or not command.name:
            yield (
                f"polyexec_cli_commands gave {command!r}, which is not a click.Command with a name"
                " and was left out"
            )
        elif command.name in app.commands:
            yield (
                f"the command {command.name!r} of {_origin(command)} was left out, since there is"
                f" one of that name from {_origin(app.commands[command.name])};"
                " give it another name"
            )
        else:
            app.add_command(command)


def _origin(command: click.Command) -> str:
    return getattr(command.callback, "__module__", None) or type(command).__module__


def _known_commands() -> str:
    return f"there are: {', '.join(sorted(app.commands))} (see polyexec --help)"


def _sentence(error: click.ClickException) -> str:
    """Turn click's message, such as `Missing command.`, into the form of this project's errors."""
    message = one_line(error.format_message()).removesuffix(".")
    if isinstance(error, click.NoSuchOption) and error.ctx and error.ctx.command is map_command:
        message += "; put -- before items that begin with a dash"
    elif isinstance(error, click.MissingParameter) and error.ctx:
        message += f" (see {error.ctx.command_path} --help)"
    elif message == "Missing command":
        message += f"; {_known_commands()}"
    return message[:1].lower() + message[1:]
