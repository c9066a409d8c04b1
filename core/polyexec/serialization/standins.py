"""What a worker finds in the place of a global that could not be sent there."""

from __future__ import annotations

from typing import Any, NoReturn

from polyexec.errors import UnpicklableError

__all__ = ["StandIn"]


class StandIn:
    """Says why, once it is used; code that sets the global, an initializer say, replaces it."""

    def __init__(self, name: str, why: str) -> None:
        self._about = name, why

    def __reduce__(self) -> tuple[Any, ...]:
        return StandIn, self._about

    def __repr__(self) -> str:
        return f"<StandIn for {self._about[0]}>"

    def __getattr__(self, name: str) -> NoReturn:
        self._refuse()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        name, why = self._about
        raise UnpicklableError(
            f"the global {name!r} of the main module was not sent to this worker: {why}; set it "
            "here, in an initializer say, or pass what can be pickled"
        )

    # Python looks for these in the class alone.
    __call__ = __enter__ = __exit__ = __iter__ = __next__ = __len__ = __bool__ = _refuse
    __getitem__ = __setitem__ = __delitem__ = __contains__ = _refuse
    __int__ = __float__ = __index__ = __add__ = __radd__ = __sub__ = __mul__ = _refuse
    __aenter__ = __aexit__ = __aiter__ = __anext__ = __await__ = _refuse
