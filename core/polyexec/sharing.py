"""Objects that every worker of an executor gets once, and tasks by a handle."""

from __future__ import annotations

import types

from polyexec._current import here
from polyexec.interrupts import Interruptible, Uninterrupted

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Generic, TypeVar

    T = TypeVar("T")
else:
    T = None

    class Generic:
        """What `typing.Generic` is to a class that is subscripted and no more."""

        __class_getitem__ = classmethod(types.GenericAlias)


__all__ = ["Shared", "refer"]


class Shared(Generic[T]):
    """A handle on an object that `Executor.share` sends to each worker once.

    It is small, and can be passed to tasks anywhere in their arguments. There, *value* is the
    object: the very same on threads, a copy that all tasks of a worker see elsewhere. It must not
    be changed. The workers keep it as long as the handle lives. To another executor's workers, or
    back in a result, it goes with the object in it.
    """

    def __init__(self, value: T) -> None:
        self._value = value

    def __repr__(self) -> str:
        return f"<Shared {type(self.value).__name__}>"

    @property
    def value(self) -> T:
        """The object."""
        return self._value

    def __reduce__(self) -> tuple[Any, ...]:
        reference = None if here.refer is None else here.refer(self)
        return (Shared, (self.value,)) if reference is None else reference


def refer(
    how: Callable[[Shared[Any]], tuple[Any, ...] | None], call: Callable[..., T], *args: Any
) -> T:
    """Return `call(*args)`, in which *how* says how a handle is pickled; None: with its object."""
    with Uninterrupted():  # or handles might be pickled so for ever
        outer, here.refer = here.refer, how
        try:
            with Interruptible():
                return call(*args)
        finally:
            here.refer = outer
