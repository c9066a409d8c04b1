"""What a worker finds in the place of a global that could not be sent there."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NoReturn

from polyexec.errors import UnpicklableError
from polyexec.serialization import homes

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["StandIn"]


class StandIn:
    """Does as the worker's own, if it can have one, once it is used; else says why.

    Code that sets the global, an initializer say, replaces it. *name* is what leads to it from the
    main module, once that is run here.
    """

    def __init__(
        self, what: str, why: str, name: str | None = None, *, arrived: bool = False
    ) -> None:
        self._about = what, why, name
        self._arrived = arrived

    def __reduce__(self) -> tuple[Any, ...]:
        if self._arrived:
            self._refuse()  # it is no result
        return _arrive, self._about

    def __repr__(self) -> str:
        return f"<StandIn for {self._about[0]}>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own(), name)

    def _own(self) -> Any:
        """Return what the program makes of it here; raises UnpicklableError."""
        name = self._about[2]
        if name is None or homes.program is None:
            self._refuse()
        own = homes.program.find(name)
        return self._refuse() if own is None else own

    def _refuse(self) -> NoReturn:
        what, why, _ = self._about
        raise UnpicklableError(
            f"{what} of the main module was not sent to this worker: {why}; set it "
            "here, in an initializer say, or pass what can be pickled"
        )


def _arrive(what: str, why: str, name: str | None) -> StandIn:
    return StandIn(what, why, name, arrived=True)


#: What Python looks for in the class alone.
_SPECIAL = (
    *("call", "enter", "exit", "iter", "next", "len", "bool", "int", "float", "index"),
    *("getitem", "setitem", "delitem", "contains", "add", "radd", "sub", "mul"),
    *("truediv", "floordiv", "mod", "matmul", "and", "or", "eq", "ne", "lt", "le", "gt", "ge"),
    *("aenter", "aexit", "aiter", "anext", "await"),
)


_BUILTINS = {kind.__name__: kind for kind in (iter, next, len, bool, int, float)}


def _special(name: str) -> Callable[..., Any]:
    method = f"__{name}__"
    function = _BUILTINS.get(name) or getattr(operator, method, None)

    def use(self: StandIn, *args: Any, **kwargs: Any) -> Any:
        own = self._own()
        return getattr(own, method)(*args, **kwargs) if function is None else function(own, *args)

    return use


for _name in _SPECIAL:
    setattr(StandIn, f"__{_name}__", _special(_name))
