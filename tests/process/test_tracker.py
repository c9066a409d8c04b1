"""Workers share the resource tracker of the process that has the executor."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import tasks
from core.fakes import PATIENCE
from process.programs import LOCAL

if TYPE_CHECKING:
    from polyexec import Context
    from process.programs import Runner

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
    # A node's workers share the node's, which is on another machine perhaps.
    pytest.mark.parametrize("method", LOCAL),
]

START = """
import os
import threading
import polyexec

def tracker():
    from multiprocessing import resource_tracker
    return os.fstat(resource_tracker.getfd()).st_ino

def create():
    from multiprocessing.shared_memory import SharedMemory
    segment = SharedMemory(create=True, size=10)
    segment.close()
    return segment.name

def count(name):
    from multiprocessing.shared_memory import SharedMemory
    segment = SharedMemory(name)
    segment.buf[0] += 1
    segment.close()

context = polyexec.get_context(METHOD)
"""

SEGMENTS = """
if __name__ == "__main__":
    with context.Pool(1) as pool:
        name = pool.apply(create)
        pool.close()
        pool.join()
    with context.Executor(1) as executor:
        executor.submit(count, name).result()
    with context.Pool(1, maxtasksperchild=1) as pool:
        pool.map(count, [name] * 3, chunksize=1)
    from multiprocessing.shared_memory import SharedMemory
    segment = SharedMemory(name)
    print(segment.buf[0])
    segment.close()
    segment.unlink()
"""


def test_a_segment_outlives_the_workers_that_made_and_used_it(program: Runner) -> None:
    done = program.run(sys.executable, program.write(START + SEGMENTS))
    assert (done.stdout, done.stderr) == ("4\n", "")


ALL = """
def put_tracker(queue):
    queue.put(tracker())

def of_child(method):
    child = polyexec.get_context(method)
    queue = child.SimpleQueue()
    process = child.Process(target=put_tracker, args=(queue,))
    process.start()
    with child.Executor(1) as executor:
        found = {queue.get(), executor.submit(tracker).result()}
    process.join()
    return found

def of_fork():
    reading, writing = os.pipe()
    if not os.fork():
        os.write(writing, str(tracker()).encode())
        os._exit(0)
    os.wait()
    return int(os.read(reading, 100))

if __name__ == "__main__":
    with context.Executor(1) as executor:
        found = {executor.submit(of_fork).result()}
        found.add(executor.submit(tracker).result())
        found.add(tracker())
        found.update(*executor.map(of_child, ["fork", "spawn", "forkserver"]))
    with context.Executor(1) as executor:
        found.add(executor.submit(tracker).result())
    print(len(found))
"""


def test_all_processes_of_a_program_share_one_tracker(program: Runner) -> None:
    done = program.run(sys.executable, program.write(START + ALL))
    assert (done.stdout, done.stderr) == ("1\n", "")


PRELOADED = """
if __name__ == "__main__":
    context.set_forkserver_preload(["preloaded"])
    with context.Executor(1) as executor:
        print(executor.submit(tracker).result() == tracker())
"""


def test_a_tracker_of_the_fork_server_is_not_the_workers(program: Runner) -> None:
    program.write(
        "from multiprocessing import resource_tracker\nresource_tracker.getfd()\n", "preloaded.py"
    )
    done = program.run(sys.executable, program.write(START + PRELOADED))
    assert (done.stdout, done.stderr) == ("True\n", "")


REFUSED = """
def refuse():
    raise OSError("no more processes")

if __name__ == "__main__":
    from multiprocessing import resource_tracker
    getfd, resource_tracker.getfd = resource_tracker.getfd, refuse
    with context.Executor(1) as executor:
        own = executor.submit(of_its_own).result()
    resource_tracker.getfd = getfd
    print(own != tracker())
"""

OF_ITS_OWN = """
def of_its_own():
    from multiprocessing import resource_tracker
    resource_tracker.ensure_running()
    return os.fstat(resource_tracker._resource_tracker._fd).st_ino
"""


def test_a_worker_that_is_given_no_tracker_has_one_of_its_own(program: Runner) -> None:
    done = program.run(sys.executable, program.write(START + OF_ITS_OWN + REFUSED))
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_threads_that_need_the_tracker_at_once_have_the_same(context: Context) -> None:
    with context.Executor(1) as executor:
        assert len(executor.submit(tasks.trackers, 8).result(PATIENCE)) == 1
