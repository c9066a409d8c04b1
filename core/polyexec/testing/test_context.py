"""The context itself: its name, its capabilities, and what it says of what it lacks."""

from __future__ import annotations

from typing import Any

import pytest

import polyexec
from polyexec import Context, NotSupportedError, capabilities

CALLS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "Array": (capabilities.SHARED_MEMORY, ("i", 3)),
    "Barrier": (capabilities.SYNCHRONIZE, (2,)),
    "BoundedSemaphore": (capabilities.SYNCHRONIZE, ()),
    "Condition": (capabilities.SYNCHRONIZE, ()),
    "Event": (capabilities.SYNCHRONIZE, ()),
    "JoinableQueue": (capabilities.QUEUES, ()),
    "Lock": (capabilities.SYNCHRONIZE, ()),
    "Manager": (capabilities.MANAGER, ()),
    "Pipe": (capabilities.QUEUES, ()),
    "Process": (capabilities.PROCESS, ()),
    "Queue": (capabilities.QUEUES, ()),
    "RLock": (capabilities.SYNCHRONIZE, ()),
    "RawArray": (capabilities.SHARED_MEMORY, ("i", 3)),
    "RawValue": (capabilities.SHARED_MEMORY, ("i",)),
    "Semaphore": (capabilities.SYNCHRONIZE, ()),
    "SimpleQueue": (capabilities.QUEUES, ()),
    "Value": (capabilities.SHARED_MEMORY, ("i",)),
    "active_children": (capabilities.PROCESS, ()),
    "current_process": (capabilities.PROCESS, ()),
    "parent_process": (capabilities.PROCESS, ()),
}


def test_a_context_knows_its_name(context: Context, backend: str) -> None:
    assert context.name == backend
    assert context.get_start_method() == backend


def test_a_context_is_listed_among_the_installed_ones(context: Context) -> None:
    assert context.name in polyexec.available_contexts()
    assert context.name in polyexec.get_all_start_methods()


def test_capabilities_have_known_names(context: Context) -> None:
    assert context.capabilities <= set(capabilities.MEANINGS)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_context_has_what_it_claims_and_says_what_it_lacks(context: Context, name: str) -> None:
    capability, arguments = CALLS[name]
    if capability in context.capabilities:
        made = getattr(context, name)(*arguments)
        if name == "Manager":
            made.shutdown()
    else:
        with pytest.raises(NotSupportedError, match=capability):
            getattr(context, name)(*arguments)


def test_a_context_gives_itself_as_context(context: Context) -> None:
    assert context.get_context() is context


def test_a_context_counts_cpus_as_multiprocessing_does(context: Context) -> None:
    import multiprocessing

    assert context.cpu_count() == multiprocessing.cpu_count()


def test_an_option_that_the_context_does_not_have_is_refused_by_name(backend: str) -> None:
    with pytest.raises(TypeError, match="no_such_option"):
        polyexec.get_context(backend, no_such_option=1)


def test_a_context_can_be_closed_when_its_executors_are(backend: str) -> None:
    with polyexec.get_context(backend) as context, context.Executor(1) as executor:
        assert executor.submit(int).result() == 0
