"""Large arguments, results and shared objects: exact, and without a trace."""

from __future__ import annotations

import gc
import os
import pickle
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import polyexec
from polyexec.testing._gate import Gate, pass_gate
from polyexec_process import _packer
from process import large
from process.programs import LOCAL

if TYPE_CHECKING:
    from polyexec import Context
    from process.programs import Runner

MEGABYTE = 1 << 20

#: Sizes of what is read from shared memory, and of what is used in there.
WAYS = [MEGABYTE, 5 * MEGABYTE]

SIZES = [0, 1, 65_535, 65_536, 65_537, MEGABYTE, 8 * MEGABYTE + 1]


def ramp(size: int) -> Any:
    return np.arange(size, dtype=np.uint8)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("size", SIZES)
def test_an_array_of_any_size_comes_back_as_it_went(context: Context, size: int) -> None:
    with context.Executor(1) as executor:
        assert (executor.submit(large.echo, ramp(size)).result() == ramp(size)).all()


def test_bytes_text_and_lists_of_any_size_come_back_as_they_went(context: Context) -> None:
    values = [bytes(3 * MEGABYTE), "ä" * MEGABYTE, list(range(100_000)), bytearray(MEGABYTE)]
    with context.Executor(2) as executor:
        assert list(executor.map(large.echo, values)) == values


def test_several_arrays_of_one_task_stay_apart(context: Context) -> None:
    arrays = {"a": ramp(MEGABYTE), "b": ramp(300_000)[::-1], "c": np.asfortranarray(np.eye(500))}
    with context.Executor(1) as executor:
        back = executor.submit(large.echo, arrays).result()
    assert all((back[name] == arrays[name]).all() for name in arrays)


@pytest.mark.parametrize("size", WAYS)
def test_what_is_changed_after_submit_is_not_seen(context: Context, size: int) -> None:
    array = np.ones(size, dtype=np.uint8)
    with context.Executor(1) as executor:
        futures = []
        for value in range(40):  # more than there are segments for
            array[:] = value
            futures.append(executor.submit(large.overwrite, array, 99))
        assert [future.result() for future in futures] == [value * size for value in range(40)]
    assert (array == 39).all()


@pytest.mark.parametrize("size", WAYS)
def test_a_read_only_array_arrives_read_only_and_another_does_not(
    context: Context, size: int
) -> None:
    fixed = ramp(size)
    fixed.flags.writeable = False
    with context.Executor(1) as executor:
        assert not executor.submit(large.echo, fixed).result().flags.writeable
        assert executor.submit(large.echo, ramp(size)).result().flags.writeable


@pytest.mark.parametrize("size", WAYS)
def test_what_a_task_keeps_is_not_written_over(context: Context, size: int) -> None:
    with context.Executor(1) as executor:
        for value in range(30):
            array = np.full(size, value, dtype=np.uint8)
            assert executor.submit(large.keep, array).result() == value + 1
        expected = [(value, value) for value in range(30)]
        assert executor.submit(large.kept_values).result() == expected


@pytest.mark.parametrize("size", WAYS)
def test_what_the_caller_keeps_is_not_written_over(context: Context, size: int) -> None:
    with context.Executor(2) as executor:
        results = list(executor.map(partial(large.filled, size=size), range(60)))
        assert [int(array.min()) for array in results] == list(range(60))
        assert [int(array.max()) for array in results] == list(range(60))


@pytest.mark.parametrize("size", WAYS)
def test_results_are_whole_though_more_is_submitted_as_they_are_read(
    context: Context, size: int
) -> None:
    with context.Executor(2) as executor:
        for _ in range(10 * MEGABYTE // size):
            arrays = [np.full(size, number, dtype=np.uint8) for number in range(40)]
            futures = [executor.submit(large.incremented, array) for array in arrays]
            results = [future.result() for future in futures]
            assert [int(array.min()) for array in results] == list(range(1, 41))
            assert [int(array.max()) for array in results] == list(range(1, 41))


@pytest.mark.parametrize("size", WAYS)
def test_results_outlive_the_executor(context: Context, size: int) -> None:
    with context.Executor(1) as executor:
        result = executor.submit(large.filled, 7, size).result()
    assert (result == 7).all()


def test_a_thousand_large_tasks_leave_no_descriptor(context: Context) -> None:
    array = ramp(MEGABYTE)
    with context.Executor(2) as executor:
        executor.submit(large.echo, array).result()
        for _ in executor.map(large.echo, (array for _ in range(100))):
            pass
        before = open_descriptors()
        for _ in executor.map(large.echo, (array for _ in range(900))):
            pass
        assert open_descriptors() <= before + 8
    gc.collect()
    assert large.segments() == 0


def test_a_worker_that_dies_with_large_data_costs_its_task_alone(context: Context) -> None:
    array = ramp(4 * MEGABYTE)
    with context.Executor(2) as executor:
        lost = [executor.submit(large.die_with, array) for _ in range(3)]
        fine = [executor.submit(large.echo, array) for _ in range(10)]
        assert all((future.result() == array).all() for future in fine)
        assert {type(future.exception()).__name__ for future in lost} == {"WorkerLostError"}
    del fine, lost
    gc.collect()
    assert large.segments() == 0


@pytest.mark.parametrize("size", WAYS)
def test_a_retry_gets_what_was_submitted(context: Context, tmp_path: Path, size: int) -> None:
    array = np.ones(size, dtype=np.uint8)
    with context.Executor(1) as executor:
        again = executor.options(retries=1)
        future = again.submit(large.overwrite_and_die_once, array, str(tmp_path / "died"))
        assert future.result() == size


def test_a_shared_object_is_sent_once_and_can_be_read_only(context: Context) -> None:
    array = ramp(16 * MEGABYTE)
    with context.Executor(2) as executor:
        handle = executor.share(array)
        facts = [executor.submit(large.shared_facts, [handle], number) for number in range(200)]
        assert {future.result()[1:] for future in facts} == {(0, False)}
        assert len(pickle.dumps(handle)) > len(array)  # elsewhere it goes with its object


def test_what_is_mapped_may_enclose_a_shared_object(context: Context) -> None:
    with context.Executor(2) as executor:
        handle = executor.share(ramp(16 * MEGABYTE))
        for _ in range(2):
            facts = executor.map(lambda number: large.shared_facts([handle], number), range(50))
            assert {found[1:] for found in facts} == {(0, False)}


def test_workers_share_the_memory_of_a_shared_array(context: Context) -> None:
    gate = Gate(60)
    prepare = {"initializer": pass_gate, "initargs": (gate.address,)}
    with closing(gate), context.Executor(2, **prepare) as executor:
        handle = executor.share(ramp(MEGABYTE))
        futures = [executor.submit(large.memory_of, handle) for _ in range(100)]
        gate.await_arrivals(2)  # or one might do all before the other is there
        gate.open()
        found = dict(future.result() for future in futures)
        assert len(found) == 2
        assert set.intersection(*found.values())


def test_workers_forget_a_shared_object_with_its_handle(context: Context) -> None:
    with context.Executor(1) as executor:
        handle = executor.share(ramp(MEGABYTE))
        executor.submit(large.shared_facts, [handle], 0).result()
        held = executor.submit(large.segments).result()
        del handle
        executor.submit(large.segments).result()
        assert executor.submit(large.segments).result() < held


def test_a_replaced_worker_gets_shared_objects_too(context: Context) -> None:
    with context.Executor(1) as executor:
        handle = executor.share(ramp(MEGABYTE))
        assert executor.submit(large.shared_facts, [handle], 0).result()[1] == 0
        assert executor.submit(large.die_with, ramp(10)).exception() is not None
        assert executor.submit(large.shared_facts, [handle], 0).result()[1] == 0


def test_a_handle_of_another_executor_goes_with_its_object(context: Context) -> None:
    with context.Executor(1) as first, context.Executor(1) as second:
        handle = first.share(ramp(MEGABYTE))
        assert second.submit(large.shared_facts, [handle], 0).result()[1] == 0


def test_large_constants_of_a_partial_travel_once(context: Context) -> None:
    for data in (bytes(5 * MEGABYTE), "x" * MEGABYTE):
        bound = partial(large.size_of, data)
        with context.Executor(2) as executor:
            assert list(executor.map(bound, range(300))) == [len(data)] * 300
            futures = [executor.submit(bound, number) for number in range(300)]
            assert {future.result() for future in futures} == {len(data)}


def test_what_changes_in_a_bound_object_is_seen_with_each_task(context: Context) -> None:
    holder = large.Holder(bytes(MEGABYTE))
    with context.Executor(1) as executor:
        assert executor.submit(holder.size).result() == (MEGABYTE, 0)
        holder.count = 1
        assert executor.submit(holder.size).result() == (MEGABYTE, 1)
        holder.data = bytes(2 * MEGABYTE)
        assert executor.submit(holder.size).result() == (2 * MEGABYTE, 1)


def test_a_large_closure_travels_once(context: Context) -> None:
    data = bytes(5 * MEGABYTE)
    with context.Executor(1) as executor:
        futures = [executor.submit(lambda number: len(data) + number, n) for n in range(20)]
        assert [future.result() for future in futures] == [len(data) + n for n in range(20)]


@pytest.mark.skipif("POLYEXEC_SOAK" not in os.environ, reason="takes long, and 5 GB of memory")
def test_more_than_two_gigabytes_go_in_one_task() -> None:
    size = (1 << 31) + 4096
    with polyexec.get_context("forkserver").Executor(1) as executor:
        assert executor.submit(large.overwrite, np.ones(size, dtype=np.uint8), 0).result() == size


INHERITED = """
import multiprocessing, os, sys
import numpy as np
import polyexec

SIZE = 5 << 20
FORK = multiprocessing.get_context("fork")

def filled(value):
    return np.full(SIZE, value, np.uint8)

def facts(array):
    return int(array.min()), int(array.max())

def watch(array, pipe):
    pipe.recv()
    pipe.send(facts(array))
    array[:] = 99
    pipe.send(facts(array))

def started(array):
    mine, theirs = FORK.Pipe()
    FORK.Process(target=watch, args=(array, theirs)).start()
    return mine

def seen(pipe):
    pipe.send("go on")
    return pipe.recv(), pipe.recv()

def keep_in_a_child(array, fifos):
    go_on, answer = fifos
    if not os.fork():
        with open(go_on) as file:
            file.read()
        with open(answer, "w") as file:
            print(*facts(array), file=file)
        os._exit(0)

if __name__ == "__main__":
    fifos = "go on", "answer"
    for fifo in fifos:
        os.mkfifo(fifo)
    with polyexec.get_context(METHOD).Executor(1) as executor:
        result = executor.submit(filled, 1).result()
        child = started(result)
        result[:10] = 50
        for value in range(2, 8):
            result = executor.submit(filled, value).result()
        print(*seen(child))
        child = started(result)
        print(*seen(child), facts(result))

        executor.options(retries=1).submit(keep_in_a_child, filled(1), fifos).result()
        for value in range(2, 8):
            executor.submit(facts, filled(value)).result()
        open(fifos[0], "w").close()
        print(open(fifos[1]).read().strip())

    data = executor = None
    with polyexec.get_context(METHOD).Executor(1) as executor:
        data = executor.submit(filled, 1).result()
        inherited = polyexec.get_context("fork").Executor(1)
        print(inherited.submit(lambda: facts(data)).result())
        data[:] = 3
        print(inherited.submit(lambda: facts(data)).result())
    inherited.shutdown()
"""


def test_a_forked_child_has_large_data_of_its_own(program: Runner) -> None:
    done = program.run(sys.executable, program.write(INHERITED))
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "(1, 1) (99, 99)",  # not what came later, nor what the parent wrote
        "(7, 7) (99, 99) (7, 7)",
        "1 1",
        "(1, 1)",
        "(1, 1)",  # what is changed in place is not sent again
    ]


def test_shared_objects_beyond_the_descriptors_are_read_only_copies(
    context: Context, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if method not in LOCAL:
        pytest.skip("its node has a store of its own")
    monkeypatch.setattr(_packer, "most_shared", lambda: 2)
    with context.Executor(1) as executor:
        handles = [executor.share(ramp(MEGABYTE)) for _ in range(4)]
        for handle in handles:
            _, first, writeable = executor.submit(large.shared_facts, [handle], 0).result()
            assert (first, writeable) == (0, False)


def test_many_shared_objects_are_read_only_and_the_same_memory(context: Context) -> None:
    with context.Executor(1) as executor:
        handles = [executor.share(ramp(MEGABYTE)) for _ in range(40)]
        for handle in handles:
            _, first, writeable = executor.submit(large.shared_facts, [handle], 0).result()
            assert (first, writeable) == (0, False)
        assert executor.submit(large.segments).result() >= 40
