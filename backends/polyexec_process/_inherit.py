"""Pickles what a process inherits at its birth: locks, queues and connections among it."""

from __future__ import annotations

import io
import multiprocessing.context
import os
import pickle
import sys
from multiprocessing import resource_sharer
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

from polyexec.serialization.payloads import refuse, with_what_can_be_sent

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

#: What multiprocessing takes away from others, too, when it is no longer referred to here.
_LENT = (
    ("multiprocessing.heap", "BufferWrapper"),
    ("multiprocessing.managers", "BaseProxy"),
    ("multiprocessing.sharedctypes", "SynchronizedBase"),
    ("multiprocessing.synchronize", "SemLock"),
)


class _Heir:
    """What multiprocessing asks, while it pickles, for the process that is to inherit."""

    DupFd = staticmethod(resource_sharer.DupFd)

    @staticmethod
    def duplicate_for_child(fd: int) -> int:
        """Return what `DupFd` is to be called with."""
        return fd


def dumps_for_heir(obj: Any) -> bytes:
    """Return *obj* as bytes that one new process may unpickle, once.

    In one pass: each time that a connection is pickled, a descriptor waits to be fetched.
    """
    from polyexec_process._byvalue import HeirPickler

    state: Any = multiprocessing.context
    outer = state.get_spawning_popen()
    state.set_spawning_popen(_Heir())

    def dump(*, tolerant: bool) -> bytes:
        file = io.BytesIO()
        pickler = HeirPickler(file, pickle.HIGHEST_PROTOCOL)
        pickler.tolerant = tolerant
        pickler.dump(obj)
        return file.getvalue()

    try:
        return with_what_can_be_sent(obj, dump)
    finally:
        state.set_spawning_popen(outer)


def dumps_process(process: BaseProcess, fds: list[int]) -> tuple[bytes, list[Any]]:
    """Return *process* as bytes for the child that is being started, and what that is lent.

    As multiprocessing does, in one pickle; where that fails, or would mean nothing to the child,
    by value. *fds* are the descriptors that the child is to be given so far.
    """
    file, lent, given = io.BytesIO(), list[Any](), len(fds)
    first: Exception | None = None
    try:
        _NotingPickler(file, lent).dump(process)
    except Exception as error:  # noqa: BLE001 - reducers are the user's code
        first = error
    else:
        if child_has_main() or b"__main__" not in file.getvalue():
            return file.getvalue(), lent
    from polyexec_process._byvalue import ProcessPickler

    del fds[given:]  # none may be given twice
    file, lent = io.BytesIO(), []
    try:
        ProcessPickler(file, lent).dump(process)
    except Exception as error:  # noqa: BLE001 - reducers are the user's code
        refuse(process, first or error)
    finally:
        first = None  # its traceback has this frame: a cycle, which would keep all that is sent
    return file.getvalue(), lent


class _NotingPickler(ForkingPickler):
    """multiprocessing's; notes what it lends."""

    def __init__(self, file: io.BytesIO, lent: list[Any]) -> None:
        super().__init__(file)
        self._lent, self._kinds = lent, lent_kinds()

    def reducer_override(self, obj: Any) -> Any:
        """Reduce *obj* as usual."""
        if isinstance(obj, self._kinds):
            self._lent.append(obj)
        return NotImplemented


def lent_kinds() -> tuple[type, ...]:
    """Return the types of what must live here while a child uses it."""
    found = (getattr(sys.modules.get(module), name, None) for module, name in _LENT)
    return tuple(kind for kind in found if kind is not None)


def child_has_main() -> bool:
    """Return whether multiprocessing's children run our main module again, as they do a file."""
    main: Any = sys.modules["__main__"]
    name: str | None = getattr(main.__spec__, "name", None)
    if name is not None:
        return name.rpartition(".")[2] != "__main__"
    return has_file(main)


def has_file(module: Any) -> bool:
    """Return whether there is the file that *module* came from; it is "<stdin>" for a pipe."""
    file: str | None = getattr(module, "__file__", None)
    return file is not None and os.path.exists(file)  # noqa: PTH110 - pathlib takes long to import
