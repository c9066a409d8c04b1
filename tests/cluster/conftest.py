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
def obstacle() -> str | None:
    """Return why this machine can't be several hosts, None if it can."""
    return why_not()


@pytest.fixture
def company(obstacle: str | None, tmp_path: Path) -> Iterator[Company]:
    """Return a cluster without members, on the hosts `head`, `a`, `b`, `c` and `client`."""
    if obstacle is not None:
        pytest.skip(obstacle)
    with Net(["head", "a", "b", "c", "client"]) as net:
        company = Company(net, tmp_path)
        yield company
        company.close()
