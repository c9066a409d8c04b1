"""Log records to bytes and back, and what a worker's loggers do with them.

A handler or filter acts in the process that installed it. So a worker's loggers have none of the
submitting process's, and the root logger's one handler sends each record there, where that
process's levels, filters and handlers see it as if it had been logged there.
"""

from __future__ import annotations

import logging
import pickle
import traceback

from polyexec.serialization.exceptions import dumps_exception, loads_exception
from polyexec.serialization.payloads import dumps, loads

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "MULTIPROCESSING",
    "RecordSender",
    "disinherit",
    "dumps_record",
    "handle_record",
    "loggers",
]

#: The logger that keeps to itself, as the standard library has it.
MULTIPROCESSING = "multiprocessing"

_PLAIN = (str, int, float, bool, type(None))
_formatter = logging.Formatter()
#: What was taken off a forked child's loggers: handlers that are collected may close their files.
_disinherited: list[Any] = []


class RecordSender(logging.Handler):
    """Hands each record, as bytes, to *send*; one at a time."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send *record*."""
        try:
            self._send(dumps_record(record))
        except Exception:  # noqa: BLE001 - the user's objects, or nobody hears us: as in all handlers
            self.handleError(record)


def loggers() -> list[logging.Logger]:
    """Return the loggers that there are, but for multiprocessing's own."""
    known = list(logging.root.manager.loggerDict.items())
    named = [
        logger
        for name, logger in known
        if isinstance(logger, logging.Logger) and name != MULTIPROCESSING
    ]
    return [logging.root, *named]


def disinherit() -> None:
    """Take the parent's handlers and filters off a forked child's loggers."""
    for logger in loggers():
        if logger.handlers or logger.filters:
            _disinherited.append((logger.handlers, logger.filters))
            logger.handlers, logger.filters = [], []
        logger.propagate = True  # whether it does, is seen to where the record is handled


# -- records to bytes ------------------------------------------------------------------------------


def dumps_record(record: logging.LogRecord) -> bytes:
    """Return *record* as bytes: with its own objects where they can be pickled, else as text."""
    plain = dict(record.__dict__)
    error = None
    if record.exc_info:
        if not record.exc_text:
            plain["exc_text"] = _formatter.formatException(record.exc_info)
        error = record.exc_info[1]
        plain["exc_info"] = None
    rich: dict[str, bytes] = {}
    if type(record.msg) is not str or not _is_plain(record.args):
        _enrich(rich, "message", (record.msg, record.args))
        plain["msg"], plain["args"] = record.getMessage(), None
    for name, value in list(plain.items()):
        if name != "args" and type(value) not in _PLAIN:
            plain[name] = _plain_form(value)
            _enrich(rich, name, value)
    data = None if error is None else dumps_exception(error)
    return pickle.dumps((plain, rich, data))


def _is_plain(args: Any) -> bool:
    values = args if isinstance(args, tuple) else (args,)
    return all(type(value) in _PLAIN for value in values)


def _enrich(rich: dict[str, bytes], name: str, value: Any) -> None:
    try:
        rich[name] = dumps(value)
    except Exception:  # noqa: BLE001 - the user's reducers; there is a text in its place
        rich.pop(name, None)


def _plain_form(value: Any) -> Any:
    """Return the number or string that *value* is, if it is of a class derived from theirs."""
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - the user's __repr__
        return object.__repr__(value)


# -- bytes to records ------------------------------------------------------------------------------


def handle_record(data: bytes) -> None:
    """Have this process's loggers handle a record that `dumps_record` packed; never raises."""
    try:
        record = _loads_record(data)
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    except BaseException:  # noqa: BLE001 - filters and handlers are the user's code, others wait
        # Not by logging, which is what has just failed.
        traceback.print_exc()


def _loads_record(data: bytes) -> logging.LogRecord:
    state, rich, error = pickle.loads(data)
    for name, packed in rich.items():
        try:
            value = loads(packed)
        except Exception:  # noqa: BLE001, S112 - the user's code; there is a text in its place
            continue
        if name == "message":
            state["msg"], state["args"] = value
        else:
            state[name] = value
    if error is not None:
        raised = loads_exception(error)
        state["exc_info"] = (type(raised), raised, raised.__traceback__)
    level = state["levelno"]
    if state["levelname"] == f"Level {level}":  # it may have a name here
        state["levelname"] = logging.getLevelName(level)
    return logging.makeLogRecord(state)
