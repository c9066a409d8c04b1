"""What a worker finds in the place of a global that could not be sent there."""

from __future__ import annotations

from polyexec.errors import UnpicklableError

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["StandIn"]


class StandIn:
    """Says why, once it is used; code that sets the global, an initializer say, replaces it."""

    def __init__(self, what: str, why: str, *, arrived: bool = False) -> None:
        self._about = what, why
        self._arrived = arrived

    def __reduce__(self) -> tuple[Any, ...]:
        if self._arrived:
            self._refuse()  # it is no result
        return _arrive, self._about

    def __repr__(self) -> str:
        return f"<StandIn for {self._about[0]}>"

    def __getattr__(self, name: str) -> NoReturn:
        self._refuse()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        what, why = self._about
        raise UnpicklableError(
            f"{what} of the main module was not sent to this worker: {why}; set it "
            "here, in an initializer say, or pass what can be pickled"
        )


def _arrive(what: str, why: str) -> StandIn:
    return StandIn(what, why, arrived=True)


#: What Python looks for in the class alone.
_SPECIAL = (
    *("call", "enter", "exit", "iter", "next", "len", "bool", "int", "float", "index"),
    *("getitem", "setitem", "delitem", "contains", "add", "radd", "sub", "mul"),
    *("truediv", "floordiv", "mod", "matmul", "and", "or", "eq", "ne", "lt", "le", "gt", "ge"),
    *("aenter", "aexit", "aiter", "anext", "await"),
)
for _name in _SPECIAL:
    setattr(StandIn, f"__{_name}__", StandIn._refuse)
