"""A cluster on several hosts, to which nothing happens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.company import Company


def test_tasks_run_on_all_nodes_and_their_hosts_are_known(company: Company) -> None:
    company.head()
    company.node("a")
    company.node("b")
    company.await_nodes("a", "b")
    client = company.client("hosts")
    assert client.line() == "ready"
    client.tell("go")
    assert set(json.loads(client.line())) == {"a", "b"}
    assert {node["host"] for node in company.status()["nodes"]} == {"a", "b"}
