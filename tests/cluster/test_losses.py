"""Nodes, heads and programs that die: what survives what, on several hosts."""

from __future__ import annotations

import json
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from cluster.company import PATIENCE, flowed_well

if TYPE_CHECKING:
    from cluster.company import Company, Member

pytestmark = pytest.mark.timeout(300)


def open_gate(company: Company) -> None:
    (company.folder / "open").touch()


def outcomes(client: Member, tasks: int) -> list[dict[str, Any]]:
    found = [json.loads(client.line()) for _ in range(tasks)]
    assert json.loads(client.line()) == "after"  # it can still be used
    return found


def started(company: Company) -> Counter[str]:
    return Counter(line.split()[0] for line in company.notes())


def test_with_retries_the_tasks_of_a_killed_node_run_on_another(company: Company) -> None:
    company.head()
    company.node("a")
    killed = company.node("b")
    company.await_nodes("a", "b")
    client = company.client("hold", tasks=4, retries=2)
    notes = company.await_notes(4)
    assert {line.split()[1] for line in notes} == {"a", "b"}
    killed.kill()
    company.await_notes(6)
    open_gate(company)
    found = outcomes(client, 4)
    assert [each["result"] for each in found] == [[number, "a"] for number in range(4)]
    assert sorted(each["attempts"] for each in found) == [1, 1, 2, 2]


def test_without_retries_the_tasks_of_a_killed_node_are_lost_and_no_others(
    company: Company,
) -> None:
    company.head()
    company.node("a")
    killed = company.node("b", name="the-second")
    company.await_nodes("a", "the-second")
    client = company.client("hold", tasks=4, retries=0)
    company.await_notes(4)
    killed.kill()
    # The first that is lost says so before the others may end.
    company.await_nodes("a")
    open_gate(company)
    found = outcomes(client, 4)
    lost = [each for each in found if "error" in each]
    assert [each["error"] for each in lost] == ["WorkerLostError"] * 2
    assert all(each["host"] == "b" and "'the-second'" in each["message"] for each in lost)
    assert sorted(started(company).values()) == [1] * 4


def test_a_head_that_is_killed_and_started_again_costs_nothing(company: Company) -> None:
    head = company.head()
    company.node("a")
    company.node("b")
    company.await_nodes("a", "b")
    client = company.client("flow", tasks=200, seconds=0.1)
    company.await_notes(20)
    head.kill()
    company.head()
    flowed_well(company, client, 200)


def test_a_head_may_be_killed_again_and_again(company: Company) -> None:
    head = company.head()
    company.node("a")
    company.node("b")
    company.await_nodes("a", "b")
    client = company.client("flow", tasks=600, seconds=0.05)
    for some in (20, 150, 300, 450):
        company.await_notes(some)
        head.kill()
        head = company.head()
    flowed_well(company, client, 600)


def test_without_a_head_waits_end_after_the_reconnect_timeout(company: Company) -> None:
    head = company.head()
    company.node("a")
    company.await_nodes("a")
    client = company.client("hold", tasks=2, retries=1, options={"reconnect_timeout": 3})
    company.await_notes(2)
    head.kill()
    found = [json.loads(client.line()) for _ in range(2)]
    assert [each["error"] for each in found] == ["ClusterLostError"] * 2


def test_the_tasks_of_a_killed_program_end_and_the_head_forgets_it(company: Company) -> None:
    company.head()
    company.node("a")
    company.await_nodes("a")
    client = company.client("hold", tasks=8, retries=0, workers=2)
    workers = {int(line.split()[2]) for line in company.await_notes(2)}
    client.kill()
    watcher = company.client("await_gone", pids=sorted(workers), patience=PATIENCE)
    assert watcher.line() == "gone"
    assert len(company.notes()) == 2
    status = company.status()
    assert status["executors"] == []
    assert len(status["clients"]) <= 2  # who asks, and who watched


def test_a_node_that_joins_late_takes_part(company: Company) -> None:
    company.head()
    company.node("a")
    company.await_nodes("a")
    client = company.client("hold", tasks=6, retries=0, workers=4)
    company.await_notes(4)
    company.node("b")
    company.await_notes(6)
    open_gate(company)
    assert {each["result"][1] for each in outcomes(client, 6)} == {"a", "b"}


def test_work_waits_for_the_first_node(company: Company) -> None:
    company.head()
    client = company.client("hold", tasks=2, retries=0)
    watcher = company.client("await_queue", tasks=2, patience=PATIENCE)
    assert watcher.line() == "queued"
    company.node("a")
    company.await_notes(2)
    open_gate(company)
    assert [each["result"] for each in outcomes(client, 2)] == [[0, "a"], [1, "a"]]


@pytest.mark.parametrize("asked", ["at the head", "at the node"])
def test_a_node_that_drains_ends_what_it_has_and_leaves(company: Company, asked: str) -> None:
    company.head()
    company.node("a")
    leaves = company.node("b")
    company.await_nodes("a", "b")
    client = company.client("hold", tasks=12, retries=0)
    company.await_notes(4)
    if asked == "at the head":
        assert json.loads(company.client("drain", node="b").line()) == {}
    else:
        leaves.signal(signal.SIGTERM)
    company.await_nodes("a")
    open_gate(company)
    found = outcomes(client, 12)
    assert Counter(each["result"][1] for each in found) == {"a": 10, "b": 2}
    assert leaves.process.wait(PATIENCE) == 0
    assert sorted(started(company).values()) == [1] * 12


def test_a_member_of_another_protocol_is_refused_and_hurts_nobody(company: Company) -> None:
    company.head()
    company.node("a")
    company.await_nodes("a")
    flow = company.client("flow", tasks=100)
    client = company.client("join", protocol=99)
    told = json.loads(client.line())
    assert told["error"] == "JoinRefusedError"
    assert "protocol: 99 there, 1 at the head" in told["message"]
    node = company.node("b", protocol=99)
    assert node.process.wait(PATIENCE) == 1
    assert "protocol: 99 there, 1 at the head" in node.log.read_text()
    flowed_well(company, flow, 100)
    assert company.status()["refused"] >= 2
