"""Which names of multiprocessing belong to a context."""

from __future__ import annotations

import multiprocessing.context

# The exceptions stay the real ones: drop-in code catches multiprocessing.TimeoutError.
_EXCEPTIONS = {"ProcessError", "BufferTooShort", "TimeoutError", "AuthenticationError"}

# Looked up on the provider's context and nowhere else: a name it lacks is an AttributeError.
CONTEXT_API = frozenset(
    {name for name in dir(multiprocessing.context.BaseContext) if not name.startswith("_")}
    | {"Process"}
) - (_EXCEPTIONS | {"reducer"})

# What is a context's own although it lives in a submodule.
SUBMODULE_API = {
    "multiprocessing.process": {"current_process", "active_children", "parent_process"},
    "multiprocessing.sharedctypes": {"Value", "Array", "RawValue", "RawArray"},
}

# What a context may replace as a whole, by an attribute of that name.
REPLACEABLE_SUBMODULES = frozenset(
    {
        "connection",
        "managers",
        "pool",
        "queues",
        "reduction",
        "sharedctypes",
        "shared_memory",
        "synchronize",
    }
)
