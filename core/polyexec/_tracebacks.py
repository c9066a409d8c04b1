"""What users are shown of an error that kept a task from being accepted."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from polyexec.errors import UnpicklableError

if TYPE_CHECKING:
    import types


def from_users_code(error: BaseException) -> BaseException:
    """Return *error*, which kept a task from being accepted, with a traceback of users' code.

    The frames before that, ours, refer to the task, and so would the future to itself. They stay
    as they are where nothing else tells where the error comes from.
    """
    explains = isinstance(error, UnpicklableError) or _users_part(error.__traceback__) is not None
    if not explains or not isinstance(error, Exception):  # Ctrl-C is on its way to the caller
        return error
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        left += one.__cause__, one.__context__
        entry, one.__traceback__ = one.__traceback__, _users_part(one.__traceback__)
        while entry is not None and entry is not one.__traceback__:
            # Those of users' code lead there, too. The first still runs.
            with contextlib.suppress(RuntimeError):
                entry.tb_frame.clear()
            entry = entry.tb_next
    return error


def _users_part(entry: types.TracebackType | None) -> types.TracebackType | None:
    while entry is not None and _is_ours(entry.tb_frame.f_globals.get("__name__")):
        entry = entry.tb_next
    return entry


def _is_ours(module: object) -> bool:
    return isinstance(module, str) and module.startswith(("polyexec.", "polyexec_", "cloudpickle."))
