"""Puts Ctrl-C off for as long as it takes to change what others rely on.

Python raises KeyboardInterrupt in the main thread between any two instructions. Who catches it may
go on with the same executor, a notebook's user for one: so what it strikes must not be left half
done, or a task is lost, and whoever waits for it hangs.
"""

from __future__ import annotations

import importlib
import os
import threading
from signal import SIGINT
from threading import get_ident
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["Interruptible", "Uninterrupted", "strike"]

# Those of `signal` make enums of what goes in and comes out: that takes six times as long, and this
# is done for many a task.
_signal: Any = importlib.import_module("_signal")
getsignal: Callable[[int], object] = _signal.getsignal
signal: Callable[[int, object], object] = _signal.signal

_main: int | None = threading.main_thread().ident


class Uninterrupted:
    """A block of code that Ctrl-C strikes where it waits, or right behind it, and nowhere else.

    Users' code in it belongs in a block of `Interruptible`. Other threads, which no signal strikes,
    pay next to nothing.
    """

    __slots__ = ("_came", "_handler")

    _came: FrameType | None
    _handler: Callable[[int, FrameType | None], object] | None

    def __enter__(self) -> None:
        self._handler = None
        if get_ident() == _main:
            handler = getsignal(SIGINT)
            # Else there is nothing that may raise, or an outer block sees to it.
            if callable(handler) and _block(handler) is None:
                self._came = None
                self._handler = handler
                try:
                    signal(SIGINT, self._note)
                except ValueError:  # this interpreter, one of several, has no signals
                    self._handler = None

    def _note(self, _: int, frame: FrameType | None) -> None:
        self._came = frame

    def strike(self) -> None:
        """Have what was put off done now."""
        handler, came = self._handler, self._came
        if handler is not None and came is not None:
            self._came = None
            handler(SIGINT, came)

    @property
    def handler(self) -> Callable[[int, FrameType | None], object] | None:
        """What is called for Ctrl-C, else; None if that is not put off here."""
        return self._handler

    def __exit__(self, *_: object) -> None:
        handler = self._handler
        if handler is not None:
            signal(SIGINT, handler)
            self.strike()


class Interruptible:
    """A block of code that Ctrl-C strikes, though it is within one that it does not."""

    __slots__ = ("_outer",)

    _outer: Uninterrupted | None

    def __enter__(self) -> None:
        self._outer = None
        if get_ident() == _main:
            outer = _block(getsignal(SIGINT))
            if outer is not None:
                outer.strike()
                self._outer = outer
                signal(SIGINT, outer.handler)

    def __exit__(self, *_: object) -> None:
        if self._outer is not None:
            signal(SIGINT, self._outer._note)


def strike() -> None:
    """Let Ctrl-C strike here, if that was put off; for who waits, on the main thread."""
    block = _block(getsignal(SIGINT))
    if block is not None:
        block.strike()


def _block(handler: object) -> Uninterrupted | None:
    """Return whose handler it is, None if it is somebody else's."""
    owner = getattr(handler, "__self__", None)
    return owner if type(owner) is Uninterrupted else None


def _forked() -> None:
    """Have Ctrl-C as it was, in a child that was forked while it was put off."""
    global _main  # noqa: PLW0603 - the thread that forked is the main one of the child
    _main = get_ident()
    block = _block(getsignal(SIGINT))
    if block is not None:
        signal(SIGINT, block.handler)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
