"""Shared objects on a cluster: they outlive the tasks that refer to them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cluster.commands import PATIENCE

if TYPE_CHECKING:
    from cluster.commands import Commands
    from polyexec import Shared


def host_of(data: Shared[bytes]) -> tuple[int, int]:
    """Return the size of *data*, and the nursery of this worker's node."""
    return len(data.value), os.getppid()


def test_a_node_that_joins_after_the_first_tasks_gets_what_is_shared(commands: Commands) -> None:
    commands.head()
    first = commands.node("--name", "first")
    with commands.context() as context, context.Executor(2) as executor:
        shared = executor.share(bytes(3_000_000))
        size, here = executor.submit(host_of, shared).result(PATIENCE)
        assert size == 3_000_000
        commands.node("--name", "second")
        done = commands.ask("drain", "first")
        assert done.returncode == 0, done.stderr
        assert first.exit_code() == 0
        for _ in range(3):
            size, there = executor.submit(host_of, shared).result(PATIENCE)
            assert (size, there == here) == (3_000_000, False)
