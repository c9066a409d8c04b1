"""The cluster that a program has for itself: it is there when needed, and gone with the program."""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
import tasks
from core.fakes import PATIENCE
from polyexec_zmq import _wire as wire
from polyexec_zmq._head import Head
from polyexec_zmq._logflow import MOST, LogFlow
from polyexec_zmq._loop import HeadLoop
from polyexec_zmq._node import Node
from polyexec_zmq._versions import versions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from process.programs import Runner


@pytest.fixture
def method() -> str:
    """Return the context's name."""
    return "zmq"


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Return a context with a private cluster that no other test has."""
    with polyexec.get_context("zmq", reconnect_timeout=PATIENCE) as context:
        yield context


def head_of(cluster: Any) -> int:
    """Return the process of the private cluster."""
    cluster.hub()
    pid: int = cluster.cluster._embedded.pid
    return pid


def hang(executor: Any) -> Any:
    """Return the future of a task that runs for ever."""
    future = executor.submit(signal.pause)
    waiting = threading.Event()
    while not future.running():
        waiting.wait(0.01)  # nothing tells of a start
    return future


def test_contexts_of_one_program_share_a_cluster_and_close_it_together(cluster: Any) -> None:
    other: Any = polyexec.get_context("zmq", reconnect_timeout=PATIENCE)
    assert head_of(other) == head_of(cluster)
    other.close()
    with cluster.Executor(1) as executor:
        assert executor.submit(tasks.double, 4).result(PATIENCE) == 8


def test_what_runs_as_the_context_closes_fails(cluster: Any) -> None:
    executor = cluster.Executor(1)
    futures = [hang(executor), executor.submit(int)]
    cluster.close()
    for future in futures:
        with pytest.raises(polyexec.ClusterLostError, match="context was closed"):
            future.result(PATIENCE)


def test_a_closed_context_begins_anew(cluster: Any) -> None:
    first = head_of(cluster)
    cluster.close()
    with cluster.Executor(1) as executor:
        assert executor.submit(tasks.double, 4).result(PATIENCE) == 8
    assert head_of(cluster) != first
    assert head_of(polyexec.get_context("zmq", reconnect_timeout=PATIENCE)) == head_of(cluster)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
def test_a_lost_cluster_ends_all_waits_and_the_context_has_another(
    cluster: Any, signum: signal.Signals
) -> None:
    with cluster.Executor(1) as executor:
        futures = [hang(executor), executor.submit(int)]
        os.kill(head_of(cluster), signum)
        if signum == signal.SIGSTOP:
            cluster.hub().line.lease = 0.1
        for future in futures:
            assert isinstance(future.exception(2 * PATIENCE), polyexec.ClusterLostError)
        with pytest.raises(polyexec.ClusterLostError):
            executor.submit(int)
    with cluster.Executor(1) as executor:
        assert executor.submit(tasks.double, 4).result(PATIENCE) == 8


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_a_cluster_that_does_not_come_up_ends_all_waits(signum: signal.Signals) -> None:
    with polyexec.get_context("zmq", reconnect_timeout=0.5) as cluster:
        executor = cluster.Executor(1)
        future = executor.submit(int)
        os.kill(head_of(cluster), signum)
        assert isinstance(future.exception(PATIENCE), polyexec.ClusterError)


def test_a_callback_of_the_loss_may_use_the_context(cluster: Any) -> None:
    results: queue.SimpleQueue[int] = queue.SimpleQueue()

    def again(_: object) -> None:
        executor = cluster.Executor(1)
        future = executor.submit(tasks.double, 4)
        future.add_done_callback(lambda future: results.put(future.result()))
        executor.shutdown(wait=False)

    executor = cluster.Executor(1)
    hang(executor).add_done_callback(again)
    os.kill(head_of(cluster), signal.SIGKILL)
    assert results.get(timeout=2 * PATIENCE) == 8


def test_an_executor_in_a_task_is_one_of_the_same_cluster(cluster: Any) -> None:
    with cluster.Executor(2) as executor:
        address, pid = executor.submit(tasks.cluster_within).result(PATIENCE)
    assert address == cluster.cluster._embedded.address
    assert pid != os.getpid()


def test_as_many_tasks_as_workers_are_under_way_when_others_are_cancelled(cluster: Any) -> None:
    executor = cluster.Executor(2)
    futures = [executor.submit(tasks.double, number) for number in range(50)]
    executor.shutdown(cancel_futures=True)
    assert [future.cancelled() for future in futures[:2]] == [False, False]
    assert all(future.done() for future in futures)


def test_workers_are_known_as_soon_as_a_task_has_asked_for_one(cluster: Any) -> None:
    executor = cluster.Executor(1)
    with executor:
        executor.submit(int)
        (worker,) = executor.workers()
    assert worker["node"] == "embedded"


def test_an_idle_worker_ends(cluster: Any) -> None:
    executor = cluster.Executor(1, idle_timeout=0.05)
    with executor:
        executor.submit(os.getpid).result(PATIENCE)
        waiting = threading.Event()
        while executor.workers():
            waiting.wait(0.01)  # nothing tells of its end
        executor.submit(os.getpid).result(PATIENCE)


def test_a_program_that_was_stopped_for_long_keeps_what_it_has() -> None:
    head = Head(lambda *_: None, versions=versions())
    for number, pid in enumerate((7, 8), 1):
        hello = {"role": "client", "member": number, "pid": pid, **versions()}
        letter = wire.letter(wire.HELLO, 0, 0, wire.to_json(hello))
        assert head.receive(bytes([number]), letter, 0.0, str) is None
    head.watched.add(7)
    head.look(10 * head.lease)
    assert [member.pid for member in head.members.values()] == [7]


def test_a_node_in_the_heads_process_need_not_give_signs_of_life(tmp_path: Path) -> None:
    loop = HeadLoop(f"ipc://{tmp_path}/head", lease=1.0)
    node = Node("", None, cpus=1, method="spawn", name="own", env={}, house=loop)
    node.start()
    loop.house.pump(0.0)
    now = time.monotonic()
    for beats in range(20):
        loop.head.look(now + beats / 5)
    assert [member.name for member in loop.head.nodes()] == ["own"]
    node.close()
    loop.close()
    loop.context.destroy(linger=0)


STOPPED = """
import os
import time
import polyexec

def await_file(name):
    while not os.path.exists(name):
        time.sleep(0.01)

if __name__ == "__main__":
    with polyexec.get_context("zmq") as context, context.Executor(1) as executor:
        executor.submit(int).result()
        line = context.hub().line
        line.lease = line.fence = 3.0
        future = executor.submit(await_file, "go")
        print("stop", flush=True)
        print(future.result(), executor.submit(int, "7").result())
"""


def test_a_program_that_sleeps_longer_than_the_lease_goes_on(program: Runner) -> None:
    started = program.start(sys.executable, program.write(STOPPED))
    assert started.stdout is not None
    assert started.stdout.readline() == "stop\n"
    started.send_signal(signal.SIGSTOP)
    time.sleep(6)  # for how long it stands still is what is tested
    (program.folder / "go").touch()
    started.send_signal(signal.SIGCONT)
    assert started.communicate(timeout=4 * PATIENCE)[0] == "None 7\n"


FORKS = """
import logging
import os
import polyexec

context = polyexec.get_context("zmq")
executor = context.Executor(2)
print(executor.submit(pow, 2, 3).result(), flush=True)
child = os.fork()
if not child:
    try:
        executor.submit(pow, 2, 3)
    except polyexec.BrokenExecutor as error:
        print("made before os.fork()" in str(error), flush=True)
    with context.Executor(2) as executor:
        print(executor.submit(pow, 2, 4).result(), flush=True)
else:
    os.waitpid(child, 0)
    print(executor.submit(pow, 2, 5).result())
"""


def test_a_forked_child_has_a_cluster_of_its_own(program: Runner) -> None:
    done = program.run(sys.executable, "-W", "ignore", program.write(FORKS))
    assert (done.stdout, done.stderr) == ("8\nTrue\n16\n32\n", "")


@pytest.mark.parametrize("folder", ["x" * 200, "a b'c", "ä"])
def test_the_folder_for_temporary_files_may_have_any_name(program: Runner, folder: str) -> None:
    (program.folder / folder).mkdir()
    program.env["TMPDIR"] = str(program.folder / folder)
    source = """
import polyexec

with polyexec.get_context("zmq").Executor(2) as executor:
    print(executor.submit(pow, 2, 3).result())
"""
    done = program.run(sys.executable, program.write(source))
    assert (done.stdout, done.stderr) == ("8\n", "")


def test_records_wait_at_the_node_until_some_are_handled() -> None:
    sent: queue.SimpleQueue[int] = queue.SimpleQueue()
    flow = LogFlow(lambda number, _: sent.put(number))

    def hand_in() -> None:
        for _ in range(40):
            flow.hand_in(bytes(100_000))

    thread = threading.Thread(target=hand_in, daemon=True)
    thread.start()
    numbers = [sent.get(timeout=PATIENCE) for _ in range(11)]
    assert numbers[-2] < MOST <= numbers[-1]
    assert sent.empty()
    flow.heard(numbers[0])
    assert sent.get(timeout=PATIENCE) > numbers[-1]
    flow.forget()  # what was on its way may have been lost with a connection
    assert sent.get(timeout=PATIENCE) > numbers[-1]
    flow.end()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_flood_of_records_comes_in_order_and_before_the_outcome(
    cluster: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with cluster.Executor(1) as executor:
        executor.submit(tasks.log_many, "program", 5000).result(4 * PATIENCE)
        assert caplog.messages == [f"many {number}" for number in range(5000)]


def test_an_executor_ends_though_a_handler_is_stuck_in_a_flood(cluster: Any) -> None:
    called, released = threading.Event(), threading.Event()

    class Stuck(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - logging's signature
            called.set()
            released.wait(4 * PATIENCE)

    handler = Stuck()
    logging.getLogger("program").addHandler(handler)
    try:
        executor = cluster.Executor(1)
        executor.submit(tasks.log_many, "program", 5000)
        assert called.wait(PATIENCE)
        executor.kill_workers()
        executor.shutdown()
    finally:
        logging.getLogger("program").removeHandler(handler)
        released.set()
    cluster.close()


def test_a_pool_on_a_hosts_thread_ends_there(tmp_path: Path) -> None:
    loop = HeadLoop(f"ipc://{tmp_path}/head")
    node = Node("", None, cpus=1, method="spawn", name="own", env={}, house=loop)
    node.start()
    loop.house.pump(0.0)
    spec = {"width": 1, "env": {}, "max_tasks": None, "max_memory": None, "idle_timeout": None}
    for number in (1, 2):
        letter = wire.letter(wire.OPEN, 7, number, wire.to_json(spec), b"")
        node.receive(wire.OPEN, 7, number, letter)
    started, unstarted = (station.pool for station in node._stations.values())
    started.want_worker()
    assert started.reactor.thread is threading.current_thread()
    assert unstarted.reactor.thread is None
    node.close()
    assert not started.links
    loop.close()
    loop.context.destroy(linger=0)
