"""Turns tasks into bytes and outcomes back, for backends whose workers are other processes.

    future = pool.submit(run_task, dumps_task(task))         # in `Executor.accept`
    future.add_done_callback(lambda done: finish_task(task, done.result()))

Whatever fails on the way, in pickling, running or unpickling, ends that one task with a typed
error; none of these three raises for a reason that lies in the user's objects, except
`dumps_task`, whose error `Executor.submit` turns into the task's outcome.
"""

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
