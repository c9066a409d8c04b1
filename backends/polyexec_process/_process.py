"""Processes of multiprocessing that take closures and lambdas, too."""

from __future__ import annotations

import multiprocessing.context
import pickle
from typing import Any

from polyexec_process._inherit import dumps_inheritable


class _KeepsItsArguments:
    """Keeps what a child inherits until the child has ended.

    A lock or queue that only the child's arguments refer to would else be removed while the child
    starts, before it has attached (python/cpython#83856 and kin).
    """

    _inherited: Any = None

    def start(self) -> None:
        """Start the child process."""
        process: Any = self
        inherited = (process._target, process._args, process._kwargs)
        super().start()  # type: ignore[misc]  # BaseProcess's
        self._inherited = inherited

    def _release(self) -> None:
        popen: Any = getattr(self, "_popen", None)
        if popen is None or popen.returncode is not None:
            self._inherited = None

    def join(self, timeout: float | None = None) -> None:
        """Wait until the child has ended, *timeout* seconds at most."""
        super().join(timeout)  # type: ignore[misc]  # BaseProcess's
        self._release()

    def is_alive(self) -> bool:
        """Return whether the child runs."""
        alive: bool = super().is_alive()  # type: ignore[misc]  # BaseProcess's
        self._release()
        return alive

    def close(self) -> None:
        """Release what the process holds; it must have ended."""
        super().close()  # type: ignore[misc]  # BaseProcess's
        self._inherited = None


class _TravelsByValue(_KeepsItsArguments):
    """Pickles plainly where that works, else by value."""

    def __reduce__(self) -> tuple[Any, ...]:
        state = dict(self.__dict__)
        call = tuple(state.pop(name) for name in ("_target", "_args", "_kwargs"))
        return (_revive, (type(self), state, _Call(call)))


class _Call:
    """A target and its arguments."""

    def __init__(self, call: tuple[Any, ...]) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return (pickle.loads, (dumps_inheritable(self.call),))


def _revive(kind: type[Any], state: dict[str, Any], call: tuple[Any, ...]) -> Any:
    process = object.__new__(kind)
    process.__dict__.update(state)
    process._target, process._args, process._kwargs = call
    return process


class ForkProcess(_KeepsItsArguments, multiprocessing.context.ForkProcess):
    """A process that is forked from this one."""


class SpawnProcess(_TravelsByValue, multiprocessing.context.SpawnProcess):
    """A process in a fresh interpreter."""


class ForkServerProcess(_TravelsByValue, multiprocessing.context.ForkServerProcess):
    """A process that is forked from a server."""
