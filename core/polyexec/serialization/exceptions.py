"""Exceptions to bytes and back: they arrive as themselves, or as text, but they always arrive.

Type, arguments, attributes, notes, causes, contexts and a group's members travel. Each exception is
tried out where it was raised: one whose pickled form does not come back as itself (a class whose
`__init__` takes other arguments than `args`, python/cpython#79492) is taken apart and put together
without `__init__`; one that can't travel even so becomes a RemoteError with its text. The traceback
travels as text, and becomes the root of the exception's causes, so that the normal report of the
exception shows it first.
"""

from __future__ import annotations

import builtins
import pickle
import traceback

from polyexec.errors import RemoteError, RemoteTraceback
from polyexec.namedtuple import NamedTuple
from polyexec.serialization.payloads import dumps, loads

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    import types
    from collections.abc import Callable
    from typing import Any

__all__ = ["dumps_exception", "loads_exception"]

#: How many exceptions of a chain, or of a web of causes and contexts, travel.
_MAX_CHAIN = 64

_PLAIN = (int, float, str, bytes, bool, type(None))

# As every exception has them, whatever its class makes of those names.
_own: Any = vars(BaseException)
_CAUSE, _CONTEXT, _SUPPRESS = _own["__cause__"], _own["__context__"], _own["__suppress_context__"]
_TRACEBACK = _own["__traceback__"]

_Group: Any = getattr(builtins, "BaseExceptionGroup", ())  # from 3.11 on


class _Record(NamedTuple):
    """An exception, taken apart; cause, context and members are places of other records.

    *members* is None for one that is no group.
    """

    body: bytes | None
    text: str
    cause: int | None
    context: int | None
    suppress: bool
    members: list[int] | None


def dumps_exception(error: BaseException) -> bytes:
    """Return *error* as bytes, whatever it is made of."""
    return pickle.dumps(([tuple(record) for record in _take_apart(error)], _report(error)))


def loads_exception(
    data: bytes, remote_traceback: Callable[[str], BaseException] = RemoteTraceback
) -> BaseException:
    """Return the exception that `dumps_exception` made *data* from.

    *remote_traceback* makes the root of its causes from the traceback's text.
    """
    records, report = pickle.loads(data)
    error = _put_together([_Record(*record) for record in records])
    _CAUSE.__set__(_root(error), remote_traceback(report))
    return error


def _report(error: BaseException) -> str:
    frames = _TRACEBACK.__get__(error)
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except BaseException:  # noqa: BLE001 - the user's `__str__` and others, of causes as well
        return (
            f"Traceback (most recent call last):\n{_shown(frames)}{_name(error)}: {_text(error)}\n"
        )


def _shown(frames: types.TracebackType | None) -> str:
    try:
        return "".join(traceback.format_tb(frames))
    except Exception:  # noqa: BLE001 - no descriptor is left to read the source with, say
        places = [(frame.f_code, line) for frame, line in traceback.walk_tb(frames)]
        return "".join(
            f'  File "{code.co_filename}", line {line}, in {code.co_name}\n'
            for code, line in places
        )


def _take_apart(error: BaseException) -> list[_Record]:
    """Return a record of *error*, and of all that it refers to once, however that refers."""
    found: list[BaseException] = [error]
    places = {id(error): 0}
    for each in found:
        linked = (_CAUSE.__get__(each), _CONTEXT.__get__(each))
        others = [other for other in linked if len(found) < _MAX_CHAIN] + list(_members(each) or ())
        for other in others:
            if other is not None and id(other) not in places:
                places[id(other)] = len(found)
                found.append(other)
    return [
        _Record(
            _body(each) if (members := _members(each)) is None else _shell(each),
            f"{_name(each)}: {_text(each)}",
            places.get(id(_CAUSE.__get__(each))),
            places.get(id(_CONTEXT.__get__(each))),
            bool(_SUPPRESS.__get__(each)),
            None if members is None else [places[id(member)] for member in members],
        )
        for each in found
    ]


def _members(error: BaseException) -> tuple[BaseException, ...] | None:
    """Return the exceptions of a group, None for one that is none."""
    if not isinstance(error, _Group):
        return None
    members: tuple[BaseException, ...] = _Group.exceptions.__get__(error)
    return members


def _shell(group: Any) -> bytes | None:
    """Return what a group is besides its members."""
    state = {name: _portable(value) for name, value in group.__dict__.items()}
    try:
        data = dumps((type(group), _Group.message.__get__(group), state))
        if loads(data)[0].__qualname__ == type(group).__qualname__:
            return data
    except BaseException:  # noqa: BLE001 - a class that can't travel
        return None
    return None


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
    errors: dict[int, BaseException] = {}
    for place, record in enumerate(records):
        error = _revived(place, records, errors)
        for link, other in ((_CAUSE, record.cause), (_CONTEXT, record.context)):
            link.__set__(error, None if other is None else _revived(other, records, errors))
        _SUPPRESS.__set__(error, record.suppress)
    return errors[0]


def _revived(place: int, records: list[_Record], errors: dict[int, BaseException]) -> BaseException:
    """Return the exception at *place* of *records*, made once; *errors* has those that are.

    A closure that calls itself would be a cycle, and so keep the errors, and who has raised them.
    """
    if place not in errors:
        record = records[place]
        members = [_revived(member, records, errors) for member in record.members or ()]
        errors[place] = _revive(record, members)
    return errors[place]


def _revive(record: _Record, members: list[BaseException]) -> BaseException:
    if record.body is not None:
        try:
            error = loads(record.body)
            if record.members is not None:
                kind, message, state = error
                error = _Group.__new__(kind, message, members)
                error.__dict__.update(state)
        except BaseException as failure:  # noqa: BLE001 - the user's code, on this side
            return RemoteError(f"{record.text} (it can't be unpickled here: {failure})")
        if isinstance(error, BaseException):
            return error
    return RemoteError(record.text)


def _root(error: BaseException) -> BaseException:
    """Return the last exception that a report of *error* shows first, cycles left aside."""
    seen = {id(error)}
    while True:
        following: BaseException | None = _CAUSE.__get__(error)
        if following is None and not _SUPPRESS.__get__(error):
            following = _CONTEXT.__get__(error)
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
