"""Each test of a cluster on several hosts has a network of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster.company import Company
from cluster.hosts import Net, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def hosts_here() -> None:
    """Skip where one machine can't be several hosts."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def company(hosts_here: None, tmp_path: Path) -> Iterator[Company]:
    """Return a cluster without members, on the hosts `head`, `a`, `b`, `c` and `client`."""
    with Net(["head", "a", "b", "c", "client"]) as net:
        company = Company(net, tmp_path)
        yield company
        company.close()
