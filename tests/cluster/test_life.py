"""The life of a cluster, from its command line."""

from __future__ import annotations

import queue
import signal
import threading
from typing import TYPE_CHECKING

import pytest

import polyexec
from cluster import errands
from cluster.commands import PATIENCE, until
from polyexec_zmq import _cli_node

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.commands import Commands
    from polyexec import Executor, Future


def _blocked(executor: Executor, folder: Path, size: int = 0) -> Future[bytes]:
    """Submit a task that goes on until there is a file `go`; return once it has begun."""
    begun = folder / "begun"
    future = executor.submit(errands.wait_for, str(begun), str(folder / "go"), size)
    until(begun.exists)
    return future


def test_a_cluster_runs_tasks_until_it_is_stopped(commands: Commands) -> None:
    head = commands.head()
    node = commands.node("--name", "first", "--tag", "gpu=1")
    with commands.context() as context, context.Executor(2) as executor:
        assert list(executor.map(abs, range(-100, 0))) == list(range(100, 0, -1))
        (told,) = commands.status()["executors"]
        assert told["done"] >= 1
    table = commands.ask("status").stdout
    assert "nodes: 1, CPUs: 2" in table
    assert "first" in table
    assert "gpu=1" in table
    assert commands.ask("drain", "first").returncode == 0
    assert node.exit_code() == 0
    assert commands.status()["nodes"] == []
    assert commands.ask("stop").returncode == 0
    assert head.exit_code() == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_head_orderly(commands: Commands, signum: int) -> None:
    head = commands.head()
    head.signal(signum)
    assert head.exit_code() == 0
    assert "Traceback" not in head.written()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_node_that_has_nothing_to_do(commands: Commands, signum: int) -> None:
    commands.head()
    node = commands.node()
    node.signal(signum)
    assert node.exit_code() == 0
    assert "Traceback" not in node.written()


def test_a_signal_is_heeded_that_did_not_wake_who_waits() -> None:
    # As if it came just before the main thread began to wait: Python's handler is not called then.
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    changes: queue.SimpleQueue[str] = queue.SimpleQueue()

    def strike() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    try:
        with _cli_node._heeded(changes):
            for expected in ("drain", "end"):
                thread = threading.Timer(0.1, strike)
                thread.start()
                assert changes.get(timeout=PATIENCE) == expected
                thread.join()
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)


def test_a_node_that_is_told_to_end_finishes_what_runs(commands: Commands, tmp_path: Path) -> None:
    commands.head()
    node = commands.node()
    with commands.context() as context, context.Executor(1) as executor:
        future = _blocked(executor, tmp_path)
        node.signal(signal.SIGTERM)
        node.wait_for("leaves once")
        until(lambda: commands.status()["nodes"][0]["draining"])
        (tmp_path / "go").touch()
        assert future.result(PATIENCE) == b""
        assert node.exit_code() == 0


def test_nobody_else_has_the_ends_of_what_a_worker_of_a_forking_node_is_connected_by(
    commands: Commands,
) -> None:
    commands.head()
    commands.node("--context", "fork")
    with commands.context() as context, context.Executor(1) as executor:
        for _ in range(2):  # the first worker, and one after it
            lost = executor.submit(errands.close_all).exception(PATIENCE)
            assert isinstance(lost, polyexec.WorkerLostError)


def test_a_drained_node_stays_until_a_large_result_has_arrived(
    commands: Commands, tmp_path: Path
) -> None:
    commands.head()
    node = commands.node("--name", "it")
    with commands.context() as context, context.Executor(1) as executor:
        future = _blocked(executor, tmp_path, 50_000_000)
        assert commands.ask("drain", "it").returncode == 0
        (tmp_path / "go").touch()
        assert len(future.result(PATIENCE)) == 50_000_000
        assert node.exit_code() == 0


def test_what_a_drained_node_has_not_begun_is_done_by_another(
    commands: Commands, tmp_path: Path
) -> None:
    commands.head()
    node = commands.node("--name", "it")
    with commands.context() as context, context.Executor(1) as executor:
        first = _blocked(executor, tmp_path)
        others = [executor.submit(abs, -number) for number in range(20)]
        assert commands.ask("drain", "it").returncode == 0
        commands.node()
        assert [other.result(PATIENCE) for other in others] == list(range(20))
        (tmp_path / "go").touch()
        assert first.result(PATIENCE) == b""
    assert node.exit_code() == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_second_sigterm_or_a_sigint_ends_a_node_at_once(
    commands: Commands, tmp_path: Path, signum: int
) -> None:
    commands.head()
    node = commands.node()
    with commands.context() as context, context.Executor(1) as executor:
        future = _blocked(executor, tmp_path)
        node.signal(signal.SIGTERM)
        node.wait_for("leaves once")
        node.signal(signum)
        assert node.exit_code() == 0
        assert "was lost" in str(future.exception(PATIENCE))


def test_draining_a_node_that_is_not_there_says_which_are(commands: Commands) -> None:
    commands.head()
    commands.node("--name", "it")
    done = commands.ask("drain", "nobody")
    assert (done.returncode, done.stderr) == (
        1,
        "polyexec: there is no node 'nobody'; there are: it\n",
    )


def test_a_killed_head_is_replaced_and_its_members_come_back(
    commands: Commands, tmp_path: Path
) -> None:
    head = commands.head()
    node = commands.node("--name", "it")
    address, keys = commands.address, commands.connection_file.read_text()
    with commands.context() as context, context.Executor(1) as executor:
        future = _blocked(executor, tmp_path)
        head.process.kill()
        head.exit_code()
        node.wait_for("has lost its connection")
        commands.head(bind=address)
        node.wait_for("joined", times=2)
        (tmp_path / "go").touch()
        assert future.result(PATIENCE) == b""
        assert executor.submit(abs, -1).result(PATIENCE) == 1
    assert commands.connection_file.read_text() == keys


def test_a_node_without_a_head_leaves_when_told(commands: Commands) -> None:
    head = commands.head("--lease", "4")
    node = commands.node()
    head.process.kill()
    node.wait_for("has lost its connection")
    node.signal(signal.SIGTERM)
    assert node.exit_code() == 0


def test_a_node_that_drains_leaves_though_the_head_is_gone(
    commands: Commands, tmp_path: Path
) -> None:
    head = commands.head("--lease", "4")
    node = commands.node()
    with commands.context(reconnect_timeout=0.5) as context, context.Executor(1) as executor:
        _blocked(executor, tmp_path)
        node.signal(signal.SIGTERM)
        until(lambda: commands.status()["nodes"][0]["draining"])
        head.process.kill()
        assert node.exit_code() == 0


def test_a_worker_joins_the_cluster_that_it_is_of(commands: Commands) -> None:
    commands.head()
    commands.node()
    with commands.context() as context, context.Executor(1) as executor:
        assert executor.submit(errands.ask_the_cluster, -3).result(PATIENCE) == 3


def test_two_nodes_on_one_host_have_names_of_their_own(commands: Commands) -> None:
    commands.head()
    commands.node()
    commands.node()
    names = {node["name"] for node in commands.status()["nodes"]}
    assert len(names) == 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_are_born_as_the_node_is_told(commands: Commands, method: str) -> None:
    commands.head()
    commands.node("--context", method)
    with commands.context() as context, context.Executor(1) as executor:
        assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_packages_that_the_head_names_are_compared(commands: Commands) -> None:
    commands.head("--package", "polyexec", "--package", "pyzmq")
    commands.node()
    with commands.context() as context, context.Executor(1) as executor:
        assert executor.submit(abs, -1).result(PATIENCE) == 1
