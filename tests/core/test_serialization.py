"""Tasks, functions and payloads as bytes, through a real process and back."""

from __future__ import annotations

import functools
import gc
import importlib
import pickle
import sys
import types
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import pytest

import polyexec
import tasks
from core.fakes import QueueingExecutor, fake, python
from polyexec._chunk import Chunk, Items
from polyexec.serialization import (
    FunctionTable,
    dumps,
    dumps_task,
    is_constant,
    loads,
    pack_items,
    unpack_items,
)
from polyexec.serialization.items import ride_together
from polyexec.sharing import Shared

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Far = Callable[..., Any]


# -- payloads ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [None, 1, "text", b"bytes", [1, (2, {3})], {"a": [None]}, range(3), 1 + 2j], ids=str
)
def test_plain_values_survive(value: Any) -> None:
    assert loads(dumps(value)) == value


def test_lambdas_and_closures_are_sent_by_value() -> None:
    base = 5
    assert loads(dumps(lambda value: value + base))(1) == 6


def test_what_cannot_be_pickled_is_named_with_a_cure() -> None:
    with pytest.raises(
        polyexec.UnpicklableError, match="can't be sent to another process"
    ) as error:
        dumps(sys._getframe())
    assert isinstance(error.value.__cause__, TypeError)
    assert isinstance(error.value, (pickle.PicklingError, TypeError))


def test_an_error_of_a_reducer_itself_comes_through() -> None:
    class _Refusing:
        def __reduce__(self) -> Any:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        dumps(_Refusing())


def test_a_structure_that_is_too_deep_is_unpicklable() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(polyexec.UnpicklableError):
        dumps(nested)
    while nested:
        nested = nested[0]


def test_what_cannot_be_shown_is_still_named() -> None:
    class _Unshown:
        def __init__(self) -> None:
            self.frame = sys._getframe()

        def __repr__(self) -> str:
            raise RuntimeError("no text")

    with pytest.raises(polyexec.UnpicklableError, match="_Unshown object at"):
        dumps(_Unshown())


def test_large_buffers_go_out_of_band() -> None:
    data = bytearray(b"x" * 1000)
    buffers: list[pickle.PickleBuffer] = []
    packed = dumps({"data": pickle.PickleBuffer(data)}, buffer_callback=buffers.append)
    assert len(packed) < 200
    assert loads(packed, buffers)["data"] == data


def test_buffers_go_out_of_band_once_where_the_first_attempt_failed() -> None:
    data = bytearray(b"x" * 1000)
    buffers: list[pickle.PickleBuffer] = []
    packed = dumps((pickle.PickleBuffer(data), lambda: 1), buffer_callback=buffers.append)
    assert len(buffers) == 1
    assert loads(packed, buffers)[1]() == 1


def test_a_cloudpickle_that_is_being_imported_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", types.ModuleType("cloudpickle"))
    assert loads(dumps([1])) == [1]


# -- tasks ---------------------------------------------------------------------------------------


def test_a_task_runs_in_the_other_process(far: Far) -> None:
    assert far(tasks.pid).result(0) != tasks.pid()
    assert far(tasks.double, 21).result(0) == 42
    assert far(tasks.double, value="ab").result(0) == "abab"


def test_callables_of_every_kind_are_sent(far: Far) -> None:
    class _Callable:
        def __call__(self) -> str:
            return "called"

    assert far(lambda: "lambda").result(0) == "lambda"
    assert far(functools.partial(tasks.double, 2)).result(0) == 4
    assert far("a-b".split, "-").result(0) == ["a", "b"]
    assert far(_Callable()).result(0) == "called"
    assert far(complex, 1, 2).result(0) == 1 + 2j


def test_an_argument_that_will_not_pickle_is_the_tasks_outcome() -> None:
    class _Sending(QueueingExecutor):
        def accept(self, task: polyexec.Task) -> None:
            dumps_task(task)

    future = fake(_Sending).submit(tasks.double, sys._getframe())
    assert isinstance(future.exception(0), polyexec.UnpicklableError)


def test_an_argument_that_will_not_unpickle_fails_the_task(far: Far) -> None:
    error = far(tasks.double, tasks.Trap()).exception(0)
    assert isinstance(error, Exception)
    assert "sprang while unpickling" in str(error)


@pytest.mark.parametrize("kind", ["Trap", "Exiting"])
def test_a_result_that_will_not_travel_fails_the_task(far: Far, kind: str) -> None:
    error = far(tasks.make, kind).exception(0)
    assert isinstance(error, (polyexec.UnpicklableError, SystemExit))


def test_a_result_that_will_not_pickle_fails_the_task(far: Far) -> None:
    error = far(sys._getframe).exception(0)
    assert isinstance(error, polyexec.UnpicklableError)


def test_a_result_keeps_what_it_shares(far: Far) -> None:
    shared: list[int] = []
    first, second = far(tasks.double, [shared]).result(0)
    assert first is second


@pytest.mark.parametrize("kind", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
def test_a_base_exception_of_a_task_is_its_outcome(far: Far, kind: str) -> None:
    error = getattr(importlib.import_module("builtins"), kind)("mine")
    assert type(far(tasks.fail_with, error).exception(0)).__name__ == kind


def test_objects_of_main_go_and_come_back(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import concurrent.futures, multiprocessing, polyexec\n"
        "from polyexec.serialization import dumps_task, finish_task, run_task\n"
        "class Point:\n"
        "    def __init__(self, x): self.x = x\n"
        "class MineError(Exception):\n"
        "    def __init__(self, a, b): super().__init__(a + b); self.a = a\n"
        "def move(point): return Point(point.x + 1)\n"
        "def fail(): raise MineError('x', 'y')\n"
        "class Queueing(polyexec.Executor):\n"
        "    def accept(self, task): self.task = task\n"
        "    def stop(self, wait): pass\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    executor = Queueing(polyexec.get_context('thread'), 1)\n"
        "    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:\n"
        "        for fn, args in ((move, (Point(1),)), (fail, ())):\n"
        "            future = executor.submit(fn, *args)\n"
        "            data = dumps_task(executor.task)\n"
        "            finish_task(executor.task, pool.submit(run_task, data).result())\n"
        "            outcome = future.exception() or future.result()\n"
        "            print(type(outcome).__name__, getattr(outcome, 'x', outcome))\n"
    )
    done = python(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    assert (done.stdout.split(), done.stderr) == (["Point", "2", "MineError", "xy"], "")


def test_a_module_that_only_we_have_goes_by_value(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def three(): return 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("only_here")
    assert isinstance(far(module.three).exception(0), ImportError)
    cloudpickle.register_pickle_by_value(module)
    try:
        fresh = importlib.reload(module)
        assert far(fresh.three).result(0) == 3
    finally:
        cloudpickle.unregister_pickle_by_value(module)
        monkeypatch.delitem(sys.modules, "only_here")


# -- items ---------------------------------------------------------------------------------------


def test_plain_items_ride_together() -> None:
    packed = pack_items([1, "a", None, (1, 2)])
    assert packed.plain
    assert unpack_items(packed) == [(1, None), ("a", None), (None, None), ((1, 2), None)]


@pytest.mark.parametrize(
    ("values", "together"),
    [
        ([1, "a", None], True),
        ([], True),
        ([np.float64(1), np.float64(2)], True),
        ([np.float64(1), 2], False),
        ([np.zeros(1, "i4,i4")[0]] * 2, False),  # which can be changed
        ([Decimal(1), Decimal(2)], True),
        ([(1,)], False),
    ],
)
def test_values_that_never_change_and_have_no_parts_make_one_pickle(
    values: list[Any], *, together: bool
) -> None:
    assert ride_together(values) is together


def test_an_item_whose_class_has_no_hash_spoils_no_other() -> None:
    class _Odd(type):
        def __eq__(cls, other: object) -> bool:
            raise NotImplementedError

        __hash__ = None  # type: ignore[assignment]  # which pickle needs

    class _Item(metaclass=_Odd):
        pass

    (first, none), (_, error) = unpack_items(pack_items([1, _Item()]))
    assert (first, none) == (1, None)
    assert isinstance(error, polyexec.UnpicklableError)


def test_items_that_were_two_objects_stay_two() -> None:
    item: list[int] = []
    unpacked = unpack_items(pickle.loads(pickle.dumps(pack_items([item, item, [1]]))))
    assert unpacked[0][0] is not unpacked[1][0]


@pytest.mark.parametrize("make", [tasks.Trap, tasks.Exiting, sys._getframe])
def test_an_item_that_will_not_travel_spoils_no_other(make: Any) -> None:
    items: list[Any] = [[1], make(), [3]]
    unpacked = unpack_items(pickle.loads(pickle.dumps(pack_items(items))))
    assert [value for value, error in unpacked if error is None] == [[1], [3]]
    assert isinstance(unpacked[1][1], BaseException)


def test_a_chunk_whose_results_will_not_travel_fails_those_alone(far: Far) -> None:
    items = Items([("Plain",), ("Exiting",), ("Trap",), ("StubbornError",), ("Plain",)])
    assert sorted(far(Chunk(tasks.make), items).result(0).errors) == [1, 2, 3]


def test_a_chunk_keeps_each_items_error(far: Far) -> None:
    kinds = ["PlainError", "PickyError", "ExitingError", "TrapError", "SystemExit"]
    outcome = far(Chunk(tasks.fail_as), Items([(kind,) for kind in kinds])).result(0)
    errors = [outcome.errors[place] for place in range(5)]
    assert [type(error) for error in errors[:2]] == [tasks.PlainError, tasks.PickyError]
    assert all(isinstance(error, BaseException) for error in errors)


# -- functions -----------------------------------------------------------------------------------


def test_the_function_of_chunks_is_kept_unless_much_or_something_shared_is_bound_to_it() -> None:
    table = FunctionTable()
    small, large, handle = bytes(100), bytes(100_000), Shared([1])
    for bound, kept in ((small, True), (large, False), (handle, False)):
        chunk = Chunk(lambda item, bound=bound: (item, bound))
        assert is_constant(chunk)
        assert (table.keep(chunk) is not None) == kept
        assert is_constant(chunk) == kept
        assert (table.encode(chunk).digest is not None) == kept
    assert table.keep(Chunk(functools.partial(pow, 2))) is None


def test_a_function_that_is_too_large_to_be_kept_goes_with_each_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("polyexec.serialization.functions.MAX_FUNCTION", 50_000)
    table, large = FunctionTable(), bytes(100_000)
    assert table.keep(lambda: large) is None
    assert table.keep(tasks.double) is not None


def test_a_function_is_serialized_once() -> None:
    table = FunctionTable()
    first, second = table.encode(tasks.double), table.encode(tasks.double)
    assert first is second
    assert first.digest is not None


def test_what_may_change_is_serialized_each_time() -> None:
    table = FunctionTable()
    bound: list[int] = []
    before = table.encode(bound.append)
    bound.append(1)
    after = table.encode(bound.append)
    assert (before.digest, after.digest) == (None, None)
    assert before.data != after.data


def test_a_table_forgets_functions_that_are_gone() -> None:
    table = FunctionTable()
    for number in range(10):
        table.encode(lambda number=number: number)
    gc.collect()
    assert len(table._known) <= 1


@pytest.mark.parametrize("other", [0, lambda: 0], ids=["plain", "by-value"])
def test_an_item_that_stops_its_pickler_spoils_no_other(other: object) -> None:
    class Stopping:
        def __reduce__(self) -> Any:
            raise SystemExit("stop")

    shared = ["shared"]
    items = [other, [["a"], shared, Stopping()], [["b"], ["c"], shared]]
    _, (_, error), (value, _) = unpack_items(pack_items(items))
    assert isinstance(error, SystemExit)
    assert value == [["b"], ["c"], ["shared"]]
