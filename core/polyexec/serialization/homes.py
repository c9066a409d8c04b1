"""Where the globals of a module's functions live in this process."""

from __future__ import annotations

import sys
import types

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = [
    "NotRun",
    "adopt",
    "adopted",
    "born",
    "delivered",
    "found",
    "home_of",
    "inherit_classes",
    "inherited",
    "lent",
    "stamps",
    "was_born",
]

#: The namespaces of modules that functions came from by value, and that may not be loaded here.
adopted: dict[str, dict[str, Any]] = {}
#: What each held as it was adopted.
born: dict[str, dict[str, Any]] = {}
#: What was delivered to each, as it was then.
delivered: dict[str, dict[str, Any]] = {}
#: Of each, what came with the initializer, which can hand over what no task can.
lent: dict[str, set[str]] = {}
#: By what those that can change are known again, as far as they are.
stamps: dict[str, dict[str, bytes]] = {}
#: The attributes of classes that this process has from the one that it was forked from.
inherited: dict[str, dict[str, Any]] = {}


class NotRun(types.ModuleType):
    """Takes the place of a main module that is not run here, as multiprocessing would run it.

    It would cost what all that it imports and computes does, and make classes and values a second
    time, beside those that come with functions. So only what comes is here.
    """

    def __repr__(self) -> str:
        # Where pickle misses a name it says no more than this.
        return (
            "the main module of a worker, which has what functions bring, and never runs your "
            "program again: use the name in the function that is called, or have it in a module "
            "that can be imported"
        )

    def __getattr__(self, name: str) -> NoReturn:
        # And from Python 3.14 on it says no more than this.
        raise AttributeError(f"{name!r} is not there in {self!r}")


def inherit_classes() -> None:
    """Know the classes that this process has from the one that it was forked from."""
    cloudpickle: Any = sys.modules.get("cloudpickle.cloudpickle")
    if cloudpickle is not None:
        for identity, kind in list(cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.items()):
            inherited[identity] = dict(vars(kind))


def found(namespace: dict[str, Any], qualname: str) -> Any:
    """Return what *namespace* leads to by that *qualname*, None if that is nothing."""
    first, *others = qualname.split(".")
    one = namespace.get(first)
    for name in others:
        one = getattr(one, "__dict__", {}).get(name)
    return one


def was_born(kind: Any) -> bool:
    """Return whether the class *kind* was found by its name as its module was adopted."""
    return found(born.get(kind.__module__, {}), kind.__qualname__) is kind


def adopt(module: str, namespace: dict[str, Any]) -> None:
    """Keep *module*'s functions' globals in *namespace*; what that holds counts as delivered."""
    adopted[module] = namespace
    born[module] = dict(namespace)
    delivered[module] = dict(namespace)


def home_of(module: str) -> dict[str, Any] | None:
    """Return the namespace that the functions of *module* have here, None if there is none."""
    known = adopted.get(module)
    if known is not None:
        return known
    loaded = sys.modules.get(module)
    return None if loaded is None else loaded.__dict__
