"""Context variables that go along with a task to another process."""

from __future__ import annotations

from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any

from polyexec.errors import UnpicklableError
from polyexec.serialization import FunctionTable, dumps, loads
from polyexec.serialization.variables import places_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Bearer", "Propagation"]


class Propagation:
    """The variables that an executor's tasks see as their submitter did."""

    def __init__(self, variables: tuple[ContextVar[Any], ...]) -> None:
        self._variables = variables

    @classmethod
    def of(cls, variables: Any) -> Propagation | None:
        """Return the propagation that an executor was asked for, None if that was none.

        Raises TypeError for what is no tuple of ContextVars, and ValueError for one that is not a
        variable of a module, for no worker could find that.
        """
        if variables is None:
            return None
        if not isinstance(variables, list | tuple) or not all(
            isinstance(variable, ContextVar) for variable in variables
        ):
            raise TypeError(
                f"propagate must be a tuple of contextvars.ContextVar objects, not {variables!r}"
            )
        for variable in variables:
            if not places_of(variable):
                raise ValueError(
                    f"propagate can't carry {variable.name!r}, which is not a variable of a "
                    "module, so that no worker would find it; define it at the top of one"
                )
        return cls(tuple(variables)) if variables else None

    def values(self, context: Context) -> tuple[bytes | None, ...]:
        """Return the variables' values in *context*, pickled; None for each that is not set."""
        return tuple(
            _dumps_value(variable, context[variable]) if variable in context else None
            for variable in self._variables
        )

    def bearer(self, fn: Callable[..., Any]) -> Bearer:
        """Return what calls *fn* in a worker, and takes `values` before *fn*'s own arguments."""
        return Bearer(self._variables, fn)

    def table(self) -> FunctionTable:
        """Return a table whose functions are bearers of those that it is asked for."""
        return _BearerTable(self)


class _BearerTable(FunctionTable):
    def __init__(self, propagation: Propagation) -> None:
        super().__init__()
        self._propagation = propagation

    def dumps(self, fn: Callable[..., Any]) -> bytes:
        return dumps(self._propagation.bearer(fn))


class Bearer:
    """Calls a function in a context that has the variables as the submitter had them."""

    def __init__(self, variables: tuple[ContextVar[Any], ...], fn: Callable[..., Any]) -> None:
        self._variables = variables
        self._fn = fn

    def __reduce__(self) -> tuple[Any, ...]:
        # Apart, for they can't be pickled plainly, and the function may well be.
        return _revive, (dumps(self._variables), self._fn)

    def __call__(self, values: tuple[bytes | None, ...], /, *args: Any, **kwargs: Any) -> Any:
        """Return `fn(*args, **kwargs)`."""
        current = copy_context()
        # A variable can't be unset, so the context is built from an empty one.
        context = Context()
        for variable in current:
            if variable not in self._variables:
                context.run(variable.set, current[variable])
        for variable, data in zip(self._variables, values, strict=True):
            if data is not None:
                context.run(variable.set, _loads_value(variable, data))
        return context.run(self._fn, *args, **kwargs)


def _revive(variables: bytes, fn: Callable[..., Any]) -> Bearer:
    return Bearer(loads(variables), fn)


def _dumps_value(variable: ContextVar[Any], value: Any) -> bytes:
    try:
        return dumps(value)
    except Exception as error:
        raise UnpicklableError(
            f"the value of the context variable {variable.name!r} can't be sent to another "
            f"process: {error}; set it to what can be pickled, or leave it out of propagate"
        ) from error


def _loads_value(variable: ContextVar[Any], data: bytes) -> Any:
    try:
        return loads(data)
    except Exception as error:
        raise UnpicklableError(
            f"the value of the context variable {variable.name!r} arrived but can't be unpickled "
            f"here: {error}; set it to what unpickles in a worker, or leave it out of propagate"
        ) from error
