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

#: How many exceptions of a chain, or of a web of causes and contexts, travel.
_MAX_CHAIN = 64

_PLAIN = (int, float, str, bytes, bool, type(None))


class _Record(NamedTuple):
    """An exception, taken apart; cause and context are places of other records."""

    body: bytes | None
    text: str
    cause: int | None
    context: int | None
    suppress: bool


def dumps_exception(error: BaseException) -> bytes:
    """Return *error* as bytes, whatever it is made of."""
    report = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return pickle.dumps(([tuple(record) for record in _take_apart(error)], report))


def loads_exception(
    data: bytes, remote_traceback: Callable[[str], BaseException] = RemoteTraceback
) -> BaseException:
    """Return the exception that `dumps_exception` made *data* from.

    *remote_traceback* makes the root of its causes from the traceback's text.
    """
    records, report = pickle.loads(data)
    error = _put_together([_Record(*record) for record in records])
    _root(error).__cause__ = remote_traceback(report)
    return error


def _take_apart(error: BaseException) -> list[_Record]:
    """Return a record of *error*, and of each cause and context once, however they refer."""
    found: list[BaseException] = [error]
    for each in found:
        for other in (each.__cause__, each.__context__):
            if other is not None and other not in _Identical(found) and len(found) < _MAX_CHAIN:
                found.append(other)
    places = {id(each): place for place, each in enumerate(found)}
    return [
        _Record(
            _body(each),
            f"{_name(each)}: {_text(each)}",
            places.get(id(each.__cause__)),
            places.get(id(each.__context__)),
            each.__suppress_context__,
        )
        for each in found
    ]


class _Identical:
    """Membership by identity: exceptions may define `==`."""

    def __init__(self, errors: list[BaseException]) -> None:
        self.errors = errors

    def __contains__(self, error: object) -> bool:
        return any(other is error for other in self.errors)


def _body(error: BaseException) -> bytes | None:
    for attempt in (error, _Parts(error)):
        try:
            data = dumps(attempt)
            if _is_same(loads(data), error):
                return data
        except BaseException:  # noqa: BLE001, S112 - the user's reducers; the next form is tried
            continue
    return None


def _is_same(copy: Any, error: BaseException) -> bool:
    """Return whether *copy* came back as *error*, as far as can be told."""
    if _name(copy) != _name(error) or len(copy.args) != len(error.args):
        return False
    return all(
        type(there) is type(here) and (there == here or here != here)  # noqa: PLR0124 - not a number
        for there, here in zip(copy.args, error.args, strict=True)
        if isinstance(here, _PLAIN)
    )


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


def _put_together(records: list[_Record]) -> BaseException:
    errors = [_revive(record) for record in records]
    for record, error in zip(records, errors, strict=True):
        error.__cause__ = None if record.cause is None else errors[record.cause]
        error.__context__ = None if record.context is None else errors[record.context]
        error.__suppress_context__ = record.suppress
    return errors[0]


def _revive(record: _Record) -> BaseException:
    if record.body is not None:
        try:
            error = loads(record.body)
        except BaseException as failure:  # noqa: BLE001 - the user's code, on this side
            return RemoteError(f"{record.text} (it can't be unpickled here: {failure})")
        if isinstance(error, BaseException):
            return error
    return RemoteError(record.text)


def _root(error: BaseException) -> BaseException:
    """Return the last exception that a report of *error* shows first, cycles left aside."""
    seen = {id(error)}
    while True:
        following = error.__cause__
        if following is None and not error.__suppress_context__:
            following = error.__context__
        if following is None or id(following) in seen:
            return error
        seen.add(id(following))
        error = following


def _name(error: Any) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - the user's __str__
        return object.__repr__(error)
