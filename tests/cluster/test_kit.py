"""The conformance kit on a cluster, its head, nodes and program on hosts of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cluster.company import TESTS

if TYPE_CHECKING:
    from cluster.company import Company


@pytest.mark.timeout(900)
def test_the_kit_holds_across_hosts(company: Company) -> None:
    company.head()
    company.node("a")
    company.node("b")
    company.await_nodes("a", "b")
    client = company.net.hosts["client"]
    kit = ("-m", "pytest", "polyexec.testing", "--backend", "zmq", "-q", "-p", "no:cacheprovider")
    env = {
        **os.environ,
        "POLYEXEC_ZMQ_ADDRESS": company.address,
        "POLYEXEC_ZMQ_INSECURE": "1",
        "POLYEXEC_TESTING_HOST": client.address,
    }
    done = subprocess.run(
        client.command(sys.executable, *kit),
        cwd=TESTS.parent,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=840,
    )
    assert done.returncode == 0, done.stdout[-10_000:]
