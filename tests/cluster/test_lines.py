"""Lines that are cut, stall, are slow, or lose: what is between hosts comes to harm."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cluster.company import PATIENCE, Member, flowed_well

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.company import Company

pytestmark = pytest.mark.timeout(300)


def started(company: Company, client_program: str = "flow", **arguments: Any) -> Member:
    """Start a head, two nodes and a program, and return that once tasks run."""
    company.head()
    company.node("a")
    company.node("b")
    company.await_nodes("a", "b")
    client = company.client(client_program, **arguments)
    company.await_notes(4)
    return client


def await_gone(company: Company, pids: set[int]) -> None:
    watcher = company.client("await_ended", pids=sorted(pids), patience=PATIENCE)
    assert watcher.line() == "ended"


def test_a_node_that_is_cut_off_kills_its_workers_before_others_take_over(
    company: Company,
) -> None:
    client = started(company, "hold", tasks=4, retries=3)
    far = company.net.hosts["b"]
    there = {int(line.split()[2]) for line in company.notes() if line.split()[1] == "b"}
    far.cable(plugged=False)
    await_gone(company, there)
    assert len(company.notes()) == 4  # nobody else had begun what they did
    assert len(company.await_notes(6)) == 6
    far.cable(plugged=True)
    company.await_nodes("a", "b")
    (company.folder / "open").touch()
    found = [json.loads(client.line()) for _ in range(4)]
    assert [each["result"] for each in found] == [[number, "a"] for number in range(4)]
    assert sorted(each["attempts"] for each in found) == [1, 1, 2, 2]
    assert json.loads(client.line()) == "after"
    assert Counter(line.split()[1] for line in company.notes("ended")) == {"a": 4}


def test_a_short_cut_of_a_node_costs_nothing(company: Company) -> None:
    client = started(company, tasks=300, seconds=0.05)
    proxy_less = company.net.hosts["b"]
    for some in (20, 60):
        company.await_notes(some)
        proxy_less.cable(plugged=False)
        company.await_notes(some + 20)
        proxy_less.cable(plugged=True)
    flowed_well(company, client, 300)


def test_a_program_that_is_cut_off_for_a_while_goes_on_afterwards(company: Company) -> None:
    client = started(company, tasks=200, seconds=0.05)
    company.net.hosts["client"].cable(plugged=False)
    company.await_notes(40)
    company.net.hosts["client"].cable(plugged=True)
    flowed_well(company, client, 200)


def test_a_cut_of_a_minute_costs_what_a_node_had_begun_and_nothing_else(company: Company) -> None:
    client = started(company, tasks=400, seconds=0.2, retries=3)
    far = company.net.hosts["b"]
    far.cable(plugged=False)
    pause = company.client("pause", seconds=60, options={})
    assert pause.line(2 * PATIENCE) == "over"
    far.cable(plugged=True)
    company.await_nodes("a", "b")
    assert json.loads(client.line(2 * PATIENCE)) == {"wrong": [], "ends": [[1, 400]]}
    assert Counter(company.notes("delivered")) == Counter(map(str, range(400)))


def test_a_program_that_was_given_up_hears_so_and_goes_on(company: Company) -> None:
    client = started(company, "hold", tasks=4, retries=0)
    workers = {int(line.split()[2]) for line in company.notes()}
    company.net.hosts["client"].cable(plugged=False)
    await_gone(company, workers)
    company.net.hosts["client"].cable(plugged=True)
    found = [json.loads(client.line()) for _ in range(4)]
    assert [each["error"] for each in found] == ["WorkerLostError"] * 4
    assert "gave it up" in found[0]["message"]
    assert json.loads(client.line()) == "after"
    assert len(company.notes()) == 4


def test_both_nodes_may_be_cut_off_at_once(company: Company) -> None:
    client = started(company, "hold", tasks=4, retries=3)
    for name in ("a", "b"):
        company.net.hosts[name].cable(plugged=False)
    await_gone(company, {int(line.split()[2]) for line in company.notes()})
    for name in ("a", "b"):
        company.net.hosts[name].cable(plugged=True)
    company.await_notes(8)
    (company.folder / "open").touch()
    found = [json.loads(client.line()) for _ in range(4)]
    assert [each["result"][0] for each in found] == [0, 1, 2, 3]
    assert [each["attempts"] for each in found] == [2] * 4


TROUBLES: dict[str, Callable[[Member, Company], None]] = {}


def trouble(function: Callable[[Member, Company], None]) -> Callable[[Member, Company], None]:
    TROUBLES[function.__name__] = function
    return function


def settled(company: Company, more: int = 20) -> None:
    """Return once some more tasks have run, of those that can."""
    company.await_notes(min(len(company.notes()) + more, 300))


@trouble
def delays(proxy: Member, _: Company) -> None:
    proxy.order("delay 0.05")


@trouble
def cuts(proxy: Member, company: Company) -> None:
    for _ in range(3):
        proxy.order("cut")
        settled(company)


@trouble
def stalls(proxy: Member, company: Company) -> None:
    proxy.order("stall")
    settled(company)
    proxy.order("flow")


@trouble
def stalls_upwards(proxy: Member, company: Company) -> None:
    proxy.order("stall up")
    settled(company)
    proxy.order("flow")


@trouble
def stalls_downwards(proxy: Member, company: Company) -> None:
    proxy.order("stall down")
    settled(company)
    proxy.order("flow")


@trouble
def loses_bytes(proxy: Member, company: Company) -> None:
    company.garbled = True  # without keys nothing tells a letter from the rest of one
    for count in (1, 10, 1000):
        proxy.order(f"drop {count}")
        settled(company)


@trouble
def refuses(proxy: Member, company: Company) -> None:
    proxy.order("refuse")
    proxy.order("cut")
    settled(company)
    proxy.order("accept")


@pytest.mark.parametrize("name", TROUBLES)
@pytest.mark.parametrize("who", ["node", "client"])
def test_nothing_is_lost_or_runs_twice_over_a_line_that(
    company: Company, who: str, name: str
) -> None:
    company.head()
    proxy, address = company.proxy("c")
    company.node("a")
    company.node("b", address=address if who == "node" else None)
    company.await_nodes("a", "b")
    options = {"address": address} if who == "client" else {}
    client = company.client("flow", tasks=400, seconds=0.03, options=options)
    company.await_notes(8)
    TROUBLES[name](proxy, company)
    flowed_well(company, client, 400)


def test_a_line_that_is_dead_upwards_only_counts_as_cut(company: Company) -> None:
    company.head()
    proxy, address = company.proxy("c")
    company.node("a")
    company.node("b", address=address)
    company.await_nodes("a", "b")
    client = company.client("hold", tasks=4, retries=3)
    notes = company.await_notes(4)
    proxy.order("stall up")
    await_gone(company, {int(line.split()[2]) for line in notes if line.split()[1] == "b"})
    assert len(company.notes()) == 4
    company.await_notes(6)
    proxy.order("flow")
    (company.folder / "open").touch()
    found = [json.loads(client.line()) for _ in range(4)]
    assert [each["result"] for each in found] == [[number, "a"] for number in range(4)]


@pytest.mark.parametrize("who", ["client", "node", "head"])
def test_who_stands_still_for_a_while_loses_nothing(company: Company, who: str) -> None:
    head = company.head()
    company.node("a")
    node = company.node("b")
    company.await_nodes("a", "b")
    client = company.client("flow", tasks=200, seconds=0.05)
    company.await_notes(20)
    member = {"client": client, "node": node, "head": head}[who]
    member.signal(signal.SIGSTOP)
    stopped = company.client("pause", seconds=company.lease / 4, options={})
    assert stopped.line() == "over"
    member.signal(signal.SIGCONT)
    flowed_well(company, client, 200)


def test_a_node_that_stood_still_for_longer_than_its_lease_comes_back_with_nothing(
    company: Company,
) -> None:
    company.head()
    company.node("a")
    node = company.node("b")
    company.await_nodes("a", "b")
    client = company.client("hold", tasks=4, retries=3)
    notes = company.await_notes(4)
    there = {int(line.split()[2]) for line in notes if line.split()[1] == "b"}
    node.signal(signal.SIGSTOP)
    company.await_notes(6)
    node.signal(signal.SIGCONT)
    await_gone(company, there)
    company.await_nodes("a", "b")
    (company.folder / "open").touch()
    found = [json.loads(client.line()) for _ in range(4)]
    assert [each["result"] for each in found] == [[number, "a"] for number in range(4)]


def test_a_head_that_stood_still_gives_nobody_up_for_that(company: Company) -> None:
    head = company.head()
    company.node("a")
    company.await_nodes("a")
    client = company.client("flow", tasks=100, seconds=0.02)
    company.await_notes(10)
    head.signal(signal.SIGSTOP)
    pause = company.client("pause", seconds=company.lease * 1.5)
    assert pause.line() == "over"
    head.signal(signal.SIGCONT)
    assert json.loads(client.line())["ends"] == [[1, 100]]
    assert "gave it up" not in client.log.read_text()


def test_a_program_that_reads_nothing_makes_nobody_grow(company: Company) -> None:
    head = company.head()
    company.node("a")
    company.await_nodes("a")
    client = company.client("results", size=8 << 20, tasks=60)
    assert client.line() == "started"
    assert client.line() == "quarter"
    before = memory_of(head)
    client.signal(signal.SIGSTOP)
    pause = company.client("pause", seconds=company.lease / 3)
    assert pause.line() == "over"
    client.signal(signal.SIGCONT)
    assert json.loads(client.line())["good"] == 60
    assert memory_of(head) - before < 100 << 20


def memory_of(member: Member) -> int:
    """Return how many bytes a process had at most."""
    text = Path(f"/proc/{member.pid}/status").read_text()
    lines = (line.split() for line in text.splitlines())
    return next(int(words[1]) << 10 for words in lines if words[0] == "VmHWM:")


def test_large_data_on_narrow_lines_starves_neither_leases_nor_small_tasks(
    company: Company,
) -> None:
    head = company.head()
    for name in ("a", "b"):
        company.node(name)
        company.net.hosts[name].narrow("8mbit")
    company.net.hosts["client"].narrow("8mbit")
    company.await_nodes("a", "b")
    client = company.client("large", size=20_000_000, tasks=2)
    assert client.line() == "started"
    told = json.loads(client.line(240))
    assert told["good"]
    assert told["small"] >= 5
    assert "gone" not in head.log.read_text()


@pytest.mark.skipif(shutil.which(os.environ.get("NFT", "nft")) is None, reason="there is no nft")
def test_lines_that_lose_packets_lose_nothing_else(company: Company) -> None:
    for name in ("head", "a", "b", "client"):
        company.net.hosts[name].lose(5)
    client = started(company, tasks=300, seconds=0.02)
    flowed_well(company, client, 300)
