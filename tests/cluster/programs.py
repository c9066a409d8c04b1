"""Programs that use a cluster: `python programs.py FUNCTION OPTIONS ARGUMENTS`.

Each says a line for whatever the test waits for.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

import polyexec
from cluster import chores


def say(what: str) -> None:
    """Say a line."""
    print(what, flush=True)  # noqa: T201 - how a program tells


def status(context: Any, **_: Any) -> None:
    """Say what the head tells of the cluster."""
    hub = context.hub()
    hub.connect()
    say(json.dumps(hub.ask({"what": "status"})))


def await_nodes(context: Any, names: list[str], patience: float, **_: Any) -> None:
    """Say so once exactly these nodes are there."""
    deadline, nodes = time.monotonic() + patience, None
    while time.monotonic() < deadline:
        nodes = context.hub().ask({"what": "status"})["nodes"]
        if sorted(node["name"] for node in nodes if not node["draining"]) == names:
            say("there")
            return
        time.sleep(0.1)  # nobody is told of nodes that join
    say(f"there are {nodes}")


def await_gone(context: Any, pids: list[int], patience: float, **_: Any) -> None:
    """Say so once there are no executors any more, and none of these processes."""
    deadline, left = time.monotonic() + patience, pids
    while time.monotonic() < deadline:
        left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        if not left and not context.hub().ask({"what": "status"})["executors"]:
            say("gone")
            return
        time.sleep(0.1)  # nothing tells of the end of somebody else's children
    say(f"there are {left}")


def await_ended(_: Any, pids: list[int], patience: float, **__: Any) -> None:
    """Say so once there are none of these processes any more."""
    deadline = time.monotonic() + patience
    while left := [pid for pid in pids if _runs(pid)]:
        if time.monotonic() > deadline:
            say(f"there are {left}")
            return
        time.sleep(0.01)  # nothing tells of the end of somebody else's children
    say("ended")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # it has been waited for
        return False


def pause(_: Any, seconds: float, **__: Any) -> None:
    """Say so after some seconds: for how long something lasts is what is tested."""
    time.sleep(seconds)
    say("over")


def await_queue(context: Any, tasks: int, patience: float, **_: Any) -> None:
    """Say so once so many tasks wait at the head."""
    deadline, executors = time.monotonic() + patience, None
    while time.monotonic() < deadline:
        executors = context.hub().ask({"what": "status"})["executors"]
        if sum(each["queued"] for each in executors) == tasks:
            say("queued")
            return
        time.sleep(0.1)  # nobody is told of what waits
    say(f"there are {executors}")


def drain(context: Any, node: str, **_: Any) -> None:
    """Have a node leave once it has done what it has."""
    say(json.dumps(context.hub().ask({"what": "drain", "node": node})))


def hold(context: Any, folder: str, tasks: int, retries: int, workers: int = 4, **_: Any) -> None:
    """Run tasks that wait for a file; say how each ended."""
    with context.Executor(workers) as executor:
        options = executor.options(retries=retries)
        futures = [options.submit(chores.held, folder, number) for number in range(tasks)]
        ends = Counter[int]()
        for number, future in enumerate(futures):
            future.add_done_callback(lambda _, number=number: ends.update([number]))
        for future in futures:
            say(json.dumps(_outcome(future)))
        if not isinstance(futures[0].exception(), polyexec.ClusterLostError):
            say(json.dumps(executor.submit(chores.same, "after").result()))
    assert ends == Counter(range(tasks)), ends


def _outcome(future: Any) -> dict[str, Any]:
    try:
        return {"result": future.result(), "attempts": future.attempts}
    except polyexec.WorkerLostError as error:
        return {"error": "WorkerLostError", "message": str(error), "host": error.host}
    except polyexec.PolyexecError as error:
        return {"error": type(error).__name__, "message": str(error)}


def flow(
    context: Any,
    folder: str,
    tasks: int,
    seconds: float = 0.01,
    retries: int = 0,
    **_: Any,
) -> None:
    """Run many short tasks that note themselves; say which did not end once, and well."""
    ends: list[int] = [0] * tasks

    def ended(number: int) -> None:
        ends[number] += 1
        chores.note(folder, f"{number}", "delivered")

    with context.Executor(4) as executor:
        options = executor.options(retries=retries)
        futures = []
        for number in range(tasks):
            future = options.submit(chores.noted, folder, number, seconds)
            future.add_done_callback(lambda _, number=number: ended(number))
            futures.append(future)
        wrong = []
        for number, future in enumerate(futures):
            outcome = _outcome(future)
            if outcome.get("result") != number:
                wrong.append([number, outcome])
    say(json.dumps({"wrong": wrong, "ends": sorted(Counter(ends).items())}))


def hosts(context: Any, tasks: int = 40, **_: Any) -> None:
    """At each line that is read, say on which hosts tasks run."""
    with context.Executor(4) as executor:
        say("ready")
        for _line in sys.stdin:
            found = Counter(executor.map(chores.where, range(tasks), chunksize=1))
            say(json.dumps(found))


def large(context: Any, size: int, tasks: int, **_: Any) -> None:
    """Send large data to and fro, and small tasks meanwhile; say how long those took at most."""
    with context.Executor(4) as executor:
        executor.submit(chores.same, 0).result()
        say("started")
        futures = [executor.submit(chores.same, bytes([n]) * size) for n in range(tasks)]
        small = 0
        while not all(future.done() for future in futures):
            executor.submit(chores.same, small).result()
            small += 1
            time.sleep(0.05)  # the pace of the small ones
        good = [future.result() == bytes([n]) * size for n, future in enumerate(futures)]
        say(json.dumps({"good": all(good), "small": small}))


def results(context: Any, size: int, tasks: int, **_: Any) -> None:
    """Read many large results; say how many were right, and how large the program grew."""
    with context.Executor(4) as executor:
        executor.submit(chores.same, 0).result()
        begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        say("started")
        good = 0
        for n, value in enumerate(executor.map(bytes, [size] * tasks, buffersize=8)):
            good += len(value) == size
            if n == tasks // 4:
                say("quarter")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin
        say(json.dumps({"good": good, "grown": grown}))


def chaos(context: Any, tasks: int, seconds: float, **_: Any) -> None:
    """Run tasks for a time, and so many at least; say how they ended, all told."""
    ends = bytearray()
    faults: list[str] = []
    retries = 0
    waiting: deque[tuple[int, Any]] = deque()

    def ended(number: int) -> None:
        ends[number] += 1

    def check(number: int, future: Any) -> int:
        outcome = _outcome(future)
        if outcome.get("result") != _expected(number):
            faults.append(f"task {number}: {str(outcome)[:500]}")
        return int(outcome.get("attempts", 1)) - 1

    begin = time.monotonic()
    with context.Executor(6) as executor:
        options = executor.options(retries=1000)
        number = 0
        while number < tasks or time.monotonic() < begin + seconds:
            ends.append(0)
            if number % 100 == _LARGE:
                future = options.submit(chores.with_data, number, bytes([number % 251]) * (2 << 20))
            else:
                future = options.submit(chores.worked, number)
            future.add_done_callback(lambda _, number=number: ended(number))
            waiting.append((number, future))
            number += 1
            while len(waiting) > _PENDING:
                retries += check(*waiting.popleft())
        say("submitted")
        while waiting:
            retries += check(*waiting.popleft())
    faults += [f"task {n} ended {times} times" for n, times in enumerate(ends) if times != 1]
    say(json.dumps({"tasks": number, "retries": retries, "faults": faults}))


#: Which of each hundred tasks has large arguments, and how many are under way.
_LARGE, _PENDING = 50, 500


def _expected(number: int) -> tuple[Any, ...]:
    digest = hashlib.sha256
    if number % 100 == _LARGE:
        return number, digest(bytes([number % 251]) * (2 << 20)).hexdigest()
    size = (1 << 21) if number % 100 == 0 else number % 1000
    return number, digest(b"%d" % number).hexdigest(), bytes([number % 251]) * size


def join(context: Any, protocol: int | None = None, **_: Any) -> None:
    """Say whether the head lets this program in."""
    from polyexec_zmq import _wire

    if protocol is not None:
        _wire.PROTOCOL = protocol  # type: ignore[misc]  # which no two versions have in common
    try:
        with context.Executor(1) as executor:
            say(json.dumps(executor.submit(chores.same, "in").result()))
    except polyexec.ClusterError as error:
        say(json.dumps({"error": type(error).__name__, "message": str(error)}))


def main(program: str, options: str, arguments: str) -> None:
    """Run one of them."""
    context = polyexec.get_context("zmq", **json.loads(options))
    globals()[program](context, **json.loads(arguments))
    with contextlib.suppress(polyexec.ClusterError):
        context.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
