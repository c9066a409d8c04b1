"""Exceptions to bytes and back: they arrive as themselves, or as text, but they always arrive.

Type, arguments, attributes, notes, causes and contexts travel. Each exception is tried out where
it was raised: one whose pickled form does not come back as itself (a class whose `__init__` takes
other arguments than `args`, python/cpython#79492) is taken apart and put together without
`__init__`; one that can't travel even so becomes a RemoteError with its text. The traceback
travels as text, and becomes the root of the exception's causes, so that the normal report of the
exception shows it first.
"""

from __future__ import annotations

import pickle
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

from polyexec.errors import RemoteError, RemoteTraceback
from polyexec.serialization.payloads import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["dumps_exception", "loads_exception"]

_MAX_CHAIN = 32


class _Record(NamedTuple):
    """An exception, taken apart: *body* is its own pickled form, None if it has none."""

    body: bytes | None
    text: str
    cause: tuple[Any, ...] | None
    context: tuple[Any, ...] | None
    suppress: bool


def dumps_exception(error: BaseException) -> bytes:
    """Return *error* as bytes, whatever it is made of."""
    report = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    record = _take_apart(error, _MAX_CHAIN)
    return pickle.dumps((tuple(record) if record else None, report))


def loads_exception(
    data: bytes, remote_traceback: Callable[[str], BaseException] = RemoteTraceback
) -> BaseException:
    """Return the exception that `dumps_exception` made *data* from.

    *remote_traceback* makes the root of its causes from the traceback's text.
    """
    record, report = pickle.loads(data)
    error = _put_together(record)
    _root(error).__cause__ = remote_traceback(report)
    return error


def _take_apart(error: BaseException | None, depth: int) -> _Record | None:
    if error is None or depth == 0:
        return None
    cause = _take_apart(error.__cause__, depth - 1)
    context = error.__context__ if error.__context__ is not error.__cause__ else None
    suppressed = _take_apart(context, depth - 1)
    return _Record(
        _body(error),
        f"{_name(error)}: {_text(error)}",
        tuple(cause) if cause else None,
        tuple(suppressed) if suppressed else None,
        error.__suppress_context__,
    )


def _body(error: BaseException) -> bytes | None:
    for attempt in (error, _Parts(error)):
        try:
            data = dumps(attempt)
            copy = loads(data)
        except BaseException:  # noqa: BLE001, S112 - the user's reducers; the next form is tried
            continue
        if _name(copy) == _name(error) and _text(copy) == _text(error):
            return data
    return None


class _Parts:
    """Pickles as a call that puts *error* together without its `__init__`."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        error = self.error
        args = tuple(_portable(argument) for argument in error.args)
        state = {name: _portable(value) for name, value in error.__dict__.items()}
        return (_rebuild, (type(error), args, state))


def _rebuild(kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def _portable(value: Any) -> Any:
    try:
        loads(dumps(value))
    except BaseException:  # noqa: BLE001 - the user's reducers
        return repr(value)
    return value


def _put_together(record: tuple[Any, ...]) -> BaseException:
    body, text, cause, context, suppress = record
    error: BaseException | None = None
    if body is not None:
        try:
            error = loads(body)
        except BaseException as failure:  # noqa: BLE001 - the user's code, on this side
            error = RemoteError(f"{text} (it can't be unpickled here: {failure})")
    if not isinstance(error, BaseException):
        error = RemoteError(text)
    error.__cause__ = _put_together(cause) if cause else None
    error.__context__ = _put_together(context) if context else None
    error.__suppress_context__ = suppress
    return error


def _root(error: BaseException) -> BaseException:
    for _ in range(_MAX_CHAIN + 1):
        following = error.__cause__
        if following is None and not error.__suppress_context__:
            following = error.__context__
        if following is None:
            break
        error = following
    return error


def _name(error: Any) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - the user's __str__
        return object.__repr__(error)
