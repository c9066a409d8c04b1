"""What surrounds a task and goes along with it: context variables, logging, warning filters.

And the program's default context, which `Surroundings` has with it; a backend whose processes have
none of those hands on its name alone.

For backends whose workers are other processes:

    in the submitting process           in the worker
    Surroundings.capture()              .settle(send), before anything of the user's runs
    handle_record(data), on a thread    send(data), for each record that is logged
    of `Handling`
    Propagation.values(context)         Bearer: calls the task's function with those set
"""

from __future__ import annotations

from polyexec._lazy import on_first_use

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from polyexec._default import inherit_start_method
    from polyexec.surroundings.handling import Handling
    from polyexec.surroundings.logs import RecordSender, dumps_record, handle_record
    from polyexec.surroundings.propagation import Bearer, Propagation
    from polyexec.surroundings.settling import Surroundings

__all__ = [
    "Bearer",
    "Handling",
    "Propagation",
    "RecordSender",
    "Surroundings",
    "dumps_record",
    "handle_record",
    "inherit_start_method",
]

__getattr__: Callable[[str], Any] = on_first_use(
    __name__,
    {
        "polyexec._default": ("inherit_start_method",),
        "polyexec.surroundings.handling": ("Handling",),
        "polyexec.surroundings.logs": ("RecordSender", "dumps_record", "handle_record"),
        "polyexec.surroundings.propagation": ("Bearer", "Propagation"),
        "polyexec.surroundings.settling": ("Surroundings",),
    },
)
