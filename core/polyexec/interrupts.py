"""Puts Ctrl-C off for as long as it takes to change what others rely on.

Python raises KeyboardInterrupt in the main thread between any two instructions. Who catches it may
go on with the same executor, a notebook's user for one: so what it strikes must not be left half
done, or a task is lost, and whoever waits for it hangs.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from signal import SIGINT
from threading import get_ident

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

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
    pay next to nothing. What somebody makes of Ctrl-C meanwhile, in a handler say, stays.
    """

    __slots__ = ("_came", "_frame", "_handler")

    _came: FrameType | None
    _frame: FrameType | None
    _handler: Callable[[int, FrameType | None], object] | None

    def __enter__(self) -> None:
        self._handler = None
        if get_ident() == _main:
            frame = sys._getframe(1)
            handler = _handler_at(frame)
            if callable(handler):
                self._came = None
                self._frame = frame
                self._handler = handler
                try:
                    self._begin()
                except BaseException as error:
                    begun = _block(getsignal(SIGINT)) is self
                    self._let()
                    if begun or not isinstance(error, ValueError):
                        raise  # of another signal's handler
                    self._handler = None  # this interpreter, one of several, has no signals

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self._is_around(frame):
            self._came = frame
        else:
            self._let()
            if self._handler is not None:
                self._handler(signum, frame)

    def _begin(self) -> None:
        was = signal(SIGINT, self._note)
        if was is not self._handler and _block(was) is None:
            # A handler that was called meanwhile has made something else of it.
            self._handler = was if callable(was) else None
            if self._handler is None:
                signal(SIGINT, was)

    def _is_around(self, frame: FrameType | None) -> bool:
        """Return whether *frame* is in this block.

        It is not where another signal's handler raised just as this block was to end.
        """
        while frame is not None and frame is not self._frame:
            frame = frame.f_back
        return frame is not None

    def _let(self) -> None:
        """Let Ctrl-C strike from now on; what somebody else has made of it stays."""
        handler = self._handler
        if handler is not None and _block(getsignal(SIGINT)) is self:
            try:
                was = signal(SIGINT, handler)
            except BaseException:  # another signal's handler, called in front of that
                if _block(getsignal(SIGINT)) is self:
                    signal(SIGINT, handler)
                raise
            if _block(was) is not self:
                signal(SIGINT, was)

    def _strike(self) -> None:
        """Have what was put off done now."""
        handler, came = self._handler, self._came
        if handler is not None and came is not None:
            self._came = None
            handler(SIGINT, came)

    def _put_off(self) -> None:
        """Put Ctrl-C off again, whatever is its handler by now; if nothing is, that stays so."""
        handler = getsignal(SIGINT)
        if _block(handler) is None:
            self._handler = handler if callable(handler) else None
            if self._handler is not None:
                try:
                    self._begin()
                except BaseException:  # a handler, called in front of that
                    if _block(getsignal(SIGINT)) is None:
                        self._begin()
                    raise

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            try:
                self._let()
            finally:
                self._frame = None
                self._strike()


class Interruptible:
    """A block of code that Ctrl-C strikes, though it is within one that it does not.

    What was put off strikes *at_once*, in front of this, or else behind the outer block.
    """

    __slots__ = ("_at_once", "_outer")

    _outer: Uninterrupted | None

    def __init__(self, *, at_once: bool = True) -> None:
        self._at_once = at_once

    def __enter__(self) -> None:
        self._outer = None
        if get_ident() == _main:
            outer = _block(getsignal(SIGINT))
            if outer is not None:
                self._outer = outer
                try:
                    outer._let()
                    if self._at_once:
                        outer._strike()
                except BaseException:
                    outer._put_off()
                    raise

    def __exit__(self, *_: object) -> None:
        if self._outer is not None:
            self._outer._put_off()


def strike() -> None:
    """Let Ctrl-C strike here, if that was put off; for who waits, on the main thread."""
    with Interruptible():
        pass


def _handler_at(frame: FrameType) -> object:
    """Return what Ctrl-C calls at *frame*; None if a block around that puts it off."""
    handler = getsignal(SIGINT)
    outer = _block(handler)
    if outer is None:
        return handler
    return None if outer._is_around(frame) else outer._handler


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
        block._let()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
