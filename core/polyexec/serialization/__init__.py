"""Turns tasks into bytes and outcomes back, for backends whose workers are other processes.

    future = pool.submit(run_task, dumps_task(task))         # in `Executor.accept`
    future.add_done_callback(lambda done: finish_task(task, done.result()))

Whatever fails on the way, in pickling, running or unpickling, ends that one task with a typed
error; none of these three raises for a reason that lies in the user's objects, except
`dumps_task`, whose error `Executor.submit` turns into the task's outcome.
"""

from __future__ import annotations

from polyexec._lazy import on_first_use

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from polyexec.serialization.calls import dumps_task, finish_task, run_task
    from polyexec.serialization.destinations import Destination, Inheritance, bound_for
    from polyexec.serialization.exceptions import dumps_exception, loads_exception
    from polyexec.serialization.functions import FunctionTable, is_constant
    from polyexec.serialization.items import PackedItems, are_plain, pack_items, unpack_items
    from polyexec.serialization.payloads import LARGE, dumps, dumps_parts, loads

__all__ = [
    "LARGE",
    "Destination",
    "FunctionTable",
    "Inheritance",
    "PackedItems",
    "are_plain",
    "bound_for",
    "dumps",
    "dumps_exception",
    "dumps_parts",
    "dumps_task",
    "finish_task",
    "is_constant",
    "loads",
    "loads_exception",
    "pack_items",
    "run_task",
    "unpack_items",
]

__getattr__: Callable[[str], Any] = on_first_use(
    __name__,
    {
        "polyexec.serialization.calls": ("dumps_task", "finish_task", "run_task"),
        "polyexec.serialization.destinations": ("Destination", "Inheritance", "bound_for"),
        "polyexec.serialization.exceptions": ("dumps_exception", "loads_exception"),
        "polyexec.serialization.functions": ("FunctionTable", "is_constant"),
        "polyexec.serialization.items": ("PackedItems", "are_plain", "pack_items", "unpack_items"),
        "polyexec.serialization.payloads": ("LARGE", "dumps", "dumps_parts", "loads"),
    },
)
