"""How many CPUs there are to use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import polyexec
import tasks
from polyexec import cpus

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of control groups, in which a/b/c is the deepest."""
    (tmp_path / "groups" / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "groups" / "cpu" / "a").mkdir(parents=True)
    return tmp_path / "groups"


def quota(root: Path, membership: str) -> int | None:
    listed = root.parent / "cgroup"
    listed.write_text(membership, encoding="utf-8")
    return cpus.cgroup_quota(listed, root)


def test_a_group_without_a_limit_allows_everything(root: Path) -> None:
    (root / "a" / "cpu.max").write_text("max 100000\n", encoding="ascii")
    assert quota(root, "0::/a\n") is None
    assert cpus.cgroup_quota(root / "missing", root) is None


def test_the_limit_of_an_outer_group_holds_within(root: Path) -> None:
    (root / "a" / "cpu.max").write_text("150000 100000\n", encoding="ascii")
    (root / "a" / "b" / "cpu.max").write_text("800000 100000\n", encoding="ascii")
    assert quota(root, "0::/a/b/c\n") == 2


def test_a_limit_of_the_older_kind_counts_too(root: Path) -> None:
    (root / "cpu" / "a" / "cpu.cfs_quota_us").write_text("50000\n", encoding="ascii")
    (root / "cpu" / "a" / "cpu.cfs_period_us").write_text("100000\n", encoding="ascii")
    assert quota(root, "3:cpuset:/\n2:cpuacct,cpu:/a\n") == 1


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_an_executor_in_a_task_has_the_cpus_of_its_worker(method: str) -> None:
    with polyexec.get_context(method).Executor(2 * cpus.usable_cpus()) as executor:
        assert executor.submit(tasks.default_workers, method).result(60) == 1
