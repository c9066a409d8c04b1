"""What a context may be able to do: the names, and what each promises.

A context lists its own in `Context.capabilities`. Callers and tests ask for a capability, never
for a context's name.
"""

from __future__ import annotations

from typing import Final

BY_REFERENCE: Final = "by_reference"
CONTEXTVARS: Final = "contextvars"
INITIALIZER: Final = "initializer"
ISOLATION: Final = "isolation"
KILL_RUNNING: Final = "kill_running"
MANAGER: Final = "manager"
MAX_TASKS_PER_CHILD: Final = "max_tasks_per_child"
MEMORY_LIMIT: Final = "memory_limit"
MULTI_HOST: Final = "multi_host"
PRIORITIES: Final = "priorities"
PROCESS: Final = "process"
PROPAGATE: Final = "propagate"
QUEUES: Final = "queues"
RESOURCES: Final = "resources"
SHARED_MEMORY: Final = "shared_memory"
SURROUNDINGS: Final = "surroundings"
SYNCHRONIZE: Final = "synchronize"

MEANINGS: Final[dict[str, str]] = {
    BY_REFERENCE: "arguments and results are handed over as they are, never pickled",
    CONTEXTVARS: "every context variable of the submitter is seen by its task",
    INITIALIZER: "Executor(initializer=, initargs=) prepares each worker before its first task",
    ISOLATION: "tasks run in processes of their own: one that dies takes nobody along",
    KILL_RUNNING: "cancel(running=True), timeout=, terminate() and kill() stop what runs",
    MANAGER: "Manager",
    MAX_TASKS_PER_CHILD: "Executor(max_tasks_per_child=) replaces workers after so many tasks",
    MEMORY_LIMIT: "Executor(max_memory_per_child=) replaces workers that grow too large",
    MULTI_HOST: "workers may live on several machines",
    PRIORITIES: "options(priority=) lets a task overtake those of a lower priority",
    PROCESS: "Process, current_process, parent_process and active_children",
    PROPAGATE: "Executor(propagate=) takes context variables whose values go along with tasks",
    QUEUES: "Queue, SimpleQueue, JoinableQueue and Pipe",
    RESOURCES: "options(resources=) places tasks on workers that have them",
    SHARED_MEMORY: "Value, Array, RawValue and RawArray",
    SURROUNDINGS: "the submitter's loggers get what tasks log, and its warning filters hold",
    SYNCHRONIZE: "Lock, RLock, Semaphore, BoundedSemaphore, Condition, Event and Barrier",
}

__all__ = [
    "BY_REFERENCE",
    "CONTEXTVARS",
    "INITIALIZER",
    "ISOLATION",
    "KILL_RUNNING",
    "MANAGER",
    "MAX_TASKS_PER_CHILD",
    "MEANINGS",
    "MEMORY_LIMIT",
    "MULTI_HOST",
    "PRIORITIES",
    "PROCESS",
    "PROPAGATE",
    "QUEUES",
    "RESOURCES",
    "SHARED_MEMORY",
    "SURROUNDINGS",
    "SYNCHRONIZE",
]
