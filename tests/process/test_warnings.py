"""The program's warning filters, in workers."""

from __future__ import annotations

import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

from core.fakes import PATIENCE
from polyexec.testing import tasks as kit_tasks

if TYPE_CHECKING:
    from polyexec import Context
    from process.programs import Runner


def test_a_filter_that_can_not_be_sent_is_left_out(context: Context) -> None:
    class LocalWarning(UserWarning):
        def __reduce_ex__(self, _: object) -> NoReturn:
            raise TypeError("no")

    category: Any = type("Hidden", (LocalWarning,), {"lock": threading.Lock()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        warnings.filterwarnings("error", "bew.re")
        with context.Executor(1) as executor:
            error = executor.submit(kit_tasks.warn, "beware").exception(PATIENCE)
    assert isinstance(error, UserWarning)


WARNS = """
import warnings
import polyexec


def work():
    warnings.warn("beware")


if __name__ == "__main__":
    with polyexec.get_context(METHOD).Executor(1) as executor:
        print(repr(executor.submit(work).exception()))
"""


def test_the_command_lines_warning_filters_hold_in_workers(program: Runner) -> None:
    file = program.write(WARNS)
    done = program.run(sys.executable, "-W", "error::UserWarning", file)
    assert done.stdout == "UserWarning('beware')\n"
    done = program.run(sys.executable, "-W", "always", file)
    assert done.stdout == "None\n"
    assert done.stderr.count("UserWarning: beware") == 1
