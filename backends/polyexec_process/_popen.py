"""How children are started: multiprocessing's ways, with a pickle of our own."""

from __future__ import annotations

import contextlib
import multiprocessing.popen_fork
import multiprocessing.popen_forkserver
import multiprocessing.popen_spawn_posix
import os
import sys
from multiprocessing import util
from typing import TYPE_CHECKING, Any

from polyexec import get_start_method
from polyexec_process._inherit import dumps_process, has_file, lent_kinds
from polyexec_process._process import unpack_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess


class _Parcel:
    """What multiprocessing pickles in place of a process: one pickle that may be by value."""

    def __init__(self, process: BaseProcess, fds: list[int]) -> None:
        self._name = process.name
        self._process = process
        self._fds = fds
        self.lent: list[Any] = []

    def __reduce__(self) -> tuple[Any, ...]:
        data, self.lent = dumps_process(self._process, self._fds)
        return (unpack_process, (get_start_method(allow_none=True), data))


class _Lender:
    """Keeps what the child is lent until the child has ended, and nothing else of its arguments.

    A lock that only they refer to would else be removed before the child has attached to it
    (python/cpython#83856 and kin), and shared memory be used for something else.
    """

    _lent: list[Any] | None = None

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """Return the exit code, None while the child runs."""
        code: int | None = super().poll(flag)  # type: ignore[misc]  # multiprocessing's
        if code is not None:
            self._lent = None
        return code


#: When finalizers run at exit: after the children have been joined, and all others.
_LAST = -100


def _unlink_last(lent: list[Any]) -> None:
    """Have multiprocessing unlink the semaphores in *lent* at exit after the children have ended.

    It does so before, when a child that was started last may not have attached to them yet.
    """
    synchronize: Any = sys.modules.get("multiprocessing.synchronize")
    if synchronize is None:
        return
    unlink = synchronize.SemLock._cleanup
    locks = {x._semlock.name: x for x in lent if isinstance(x, synchronize.SemLock)}
    registered: Any = util._finalizer_registry  # type: ignore[attr-defined]  # private; there is no other way
    for finalizer in list(registered.values()):
        if finalizer._callback is unlink and (name := finalizer._args[0]) in locks:
            finalizer.cancel()
            util.Finalize(locks[name], unlink, (name,), exitpriority=_LAST)


@contextlib.contextmanager
def _true_to_files() -> Iterator[None]:
    """Have no child look for the file of a main module that came from none."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if file is None or has_file(main):
        yield
        return
    del main.__file__
    try:
        yield
    finally:
        main.__file__ = file


class _Sender(_Lender):
    _fds: list[int]

    def _launch(self, process_obj: BaseProcess) -> None:
        parcel = _Parcel(process_obj, self._fds)
        with _true_to_files():
            super()._launch(parcel)  # type: ignore[misc]  # multiprocessing's
        self._lent = parcel.lent
        _unlink_last(parcel.lent)


class ForkPopen(_Lender, multiprocessing.popen_fork.Popen):
    """A child that is forked."""

    def _launch(self, process_obj: BaseProcess) -> None:
        process: Any = process_obj
        given = (*process._args, *process._kwargs.values())
        super()._launch(process_obj)  # type: ignore[misc]  # it has, if not for type checkers
        # A fork has locks for good, but memory and managers' objects only as long as we do.
        kinds = lent_kinds()
        self._lent = [
            value
            for value in given
            if isinstance(value, kinds) or "_wrapper" in getattr(value, "__dict__", ())
        ]


class SpawnPopen(_Sender, multiprocessing.popen_spawn_posix.Popen):
    """A child that is a fresh interpreter."""


class ForkServerPopen(_Sender, multiprocessing.popen_forkserver.Popen):
    """A child that a server forks."""
