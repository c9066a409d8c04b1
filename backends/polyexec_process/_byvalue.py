"""Picklers for what plain pickle refuses, with multiprocessing's reducers; they load cloudpickle.

A child of multiprocessing has run the main module again, and so has classes of its own that are
ours by another name. What is an instance of one of ours here must be one of its own there.
"""

from __future__ import annotations

import pickle
import sys
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

from polyexec.serialization.namespaces import ByValuePickler
from polyexec_process._inherit import child_has_main, lent_kinds

if TYPE_CHECKING:
    import io

_MAIN = "__main__"
_registered: Any = ForkingPickler._extra_reducers  # type: ignore[attr-defined]  # what users register is there, too


class HeirPickler(ByValuePickler):
    """Pickles for a process that is to inherit."""

    lends = True
    tables = (*ByValuePickler.tables, _registered)


class ProcessPickler(HeirPickler):
    """Pickles a process of multiprocessing for the child; notes in *lent* what that is lent."""

    defines = False

    def __init__(self, file: io.BytesIO, lent: list[Any]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._lent, self._kinds = lent, lent_kinds()
        self._has_main = child_has_main()

    def reducer_override(self, obj: Any) -> Any:
        """Reduce *obj*; a class of the main module so that the child's own is found."""
        if isinstance(obj, self._kinds):
            self._lent.append(obj)
        reduced: Any = super().reducer_override(obj)
        if not self._has_main or not isinstance(obj, type) or not _is_of_main(obj):
            return reduced
        if issubclass(obj, BaseProcess):
            return NotImplemented
        make, args, state, *_, set_state = reduced
        return _find_class, (obj.__qualname__, make, args), (state, set_state), None, None, _set


def _is_of_main(kind: type) -> bool:
    return kind.__module__ == _MAIN and _in_main(kind.__qualname__) is kind


def _in_main(qualname: str) -> Any:
    found: Any = sys.modules[_MAIN]
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def _find_class(qualname: str, make: Any, args: tuple[Any, ...]) -> Any:
    found = _in_main(qualname)
    return found if isinstance(found, type) else make(*args)


def _set(kind: type, state: tuple[Any, Any]) -> None:
    if _in_main(kind.__qualname__) is not kind:
        values, set_state = state
        set_state(kind, values)
