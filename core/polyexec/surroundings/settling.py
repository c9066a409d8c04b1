"""What a worker takes over from the submitting process as it starts, apart from variables."""

from __future__ import annotations

import logging
import pickle
import sys
import warnings

from polyexec._default import get_start_method, inherit_start_method
from polyexec.namedtuple import NamedTuple
from polyexec.serialization.payloads import dumps, loads
from polyexec.surroundings import logs

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Surroundings"]

_PLAIN = (int, str, type(None))


# Not a dataclass, here and wherever a worker comes by: it would have to import `inspect` for that.
class Surroundings(NamedTuple):
    """The submitting process's default context, loggers' levels and warning filters, as of now.

    *filters* is None for a worker that has inherited them. What is changed later on does not
    follow; but levels that are raised count all the same, where the records are handled.
    """

    levels: dict[str, int]
    disabled: int = 0
    filters: list[bytes] | None = None
    #: Whether multiprocessing's logger writes to stderr, and its level.
    multiprocessing: tuple[bool, int | None] = (False, None)
    #: The default context's name, None if none was chosen yet.
    start_method: str | None = None

    @classmethod
    def capture(cls, *, inherited: bool) -> Surroundings:
        """Return this process's; *inherited* for a worker that is forked from this process."""
        levels = {logger.name: logger.level for logger in logs.loggers() if logger.level}
        disabled = logging.root.manager.disable
        method = get_start_method(allow_none=True)
        if inherited:
            return cls(levels, disabled, start_method=method)
        util: Any = sys.modules.get("multiprocessing.util")
        logger = None if util is None else util._logger
        own = (
            util is not None and bool(util._log_to_stderr),
            None if logger is None else logger.getEffectiveLevel(),
        )
        return cls(levels, disabled, _dumps_filters(), own, method)

    def settle(self, send: Callable[[bytes], None]) -> None:
        """Be surrounded by them; records that are logged from now on go to *send*."""
        inherit_start_method(self.start_method)
        if self.filters is None:
            logs.disinherit()
        else:
            self._set_filters(self.filters)
        for name, level in self.levels.items():
            logging.getLogger(name).setLevel(level)
        if logging.root.manager.disable != self.disabled:
            logging.disable(self.disabled)
        logging.root.addHandler(logs.RecordSender(send))
        to_stderr, own_level = self.multiprocessing
        if to_stderr or own_level is not None:  # as multiprocessing.spawn.prepare does
            import multiprocessing.util

            if to_stderr:
                multiprocessing.util.log_to_stderr()
            if own_level is not None:
                multiprocessing.util.get_logger().setLevel(own_level)

    def _set_filters(self, packed: list[bytes]) -> None:
        filters = []
        for each in packed:
            try:
                filters.append(loads(each))
            except Exception:  # noqa: BLE001, S112 - of a module that is not here, so of no use
                continue
        warnings.resetwarnings()
        warnings.filters[:] = filters  # type: ignore[index]  # a list, though typed as a Sequence


def _dumps_filters() -> list[bytes]:
    """Return the warning filters, but for those whose category can't be pickled."""
    packed = []
    for each in warnings.filters:
        try:
            # The name of the main module is in one of Python's own: no reason for cloudpickle.
            packed.append((pickle.dumps if all(map(_is_plain, each)) else dumps)(each))
        except Exception:  # noqa: BLE001, S112 - the user's class
            continue
    return packed


def _is_plain(part: Any) -> bool:
    return type(part) in _PLAIN or (isinstance(part, type) and part.__module__ == "builtins")
