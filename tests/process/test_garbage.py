"""What an error leaves behind: nothing that only the garbage collector would find."""

from __future__ import annotations

import gc
import threading
import traceback
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import pytest

import polyexec
import tasks
from core.fakes import PATIENCE, await_that, uncollected
from polyexec.serialization.payloads import dumps
from polyexec.testing.tasks import pass_gate
from process.conftest import METHODS
from process.programs import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polyexec import Context, Executor
    from polyexec.testing._gate import Gate
    from process.programs import Runner


@pytest.fixture(autouse=True)
def no_gc() -> Iterator[None]:
    with uncollected():
        yield


def of_a_task(executor: Executor) -> None:
    """Read the result of a task that fails."""
    executor.submit(tasks.fail_as, "PlainError").result()


def of_a_map(executor: Executor) -> None:
    """Read the results of a map whose items fail."""
    list(executor.map(tasks.fail_as, ["PlainError"] * 4))


def of_chunks(executor: Executor) -> None:
    """Read the results of a map whose items fail, several in a task."""
    list(executor.map(tasks.fail_as, ["PlainError"] * 4, chunksize=2))


@pytest.mark.parametrize("method", [*METHODS, "thread"])
@pytest.mark.parametrize("read", [of_a_task, of_a_map, of_chunks])
def test_an_error_keeps_nothing_of_who_reads_it(
    context: Context, read: Callable[[Executor], None]
) -> None:
    kept: list[weakref.ref[Any]] = []

    def catch(executor: Executor) -> None:
        held = tasks.Plain()
        kept.append(weakref.ref(held))
        try:
            read(executor)
        except tasks.PlainError:
            pass
        else:
            pytest.fail("no error")

    with context.Executor(1) as executor:
        catch(executor)
        assert kept[0]() is None


_seen: list[weakref.ref[Any]] = []


def _see_and_fail(item: Any) -> NoReturn:
    _seen.append(weakref.ref(item))
    raise ValueError


def _seen_alive() -> list[bool]:
    alive = [seen() is not None for seen in _seen]
    _seen.clear()
    return alive


@pytest.mark.parametrize("method", [*METHODS, "thread"])
@pytest.mark.parametrize("chunksize", [1, 3])
def test_an_error_keeps_no_item_where_it_was_raised(context: Context, chunksize: int) -> None:
    with context.Executor(1, initializer=gc.disable) as executor:
        items = [tasks.Plain() for _ in range(6)]
        outcomes: Iterator[Any] = executor.map(
            _see_and_fail, items, chunksize=chunksize, return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [ValueError] * 6
        del items, outcomes
        assert executor.submit(_seen_alive).result() == [False] * 6


@pytest.mark.parametrize("method", METHODS)
def test_arguments_go_as_their_tasks_end_though_the_futures_stay(context: Context) -> None:
    things = [{number} for number in range(300)]
    kept = [weakref.ref(thing) for thing in things]
    with context.Executor(2) as executor:
        futures = [executor.submit(len, thing) for thing in things]
        del things
        assert [future.result(PATIENCE) for future in futures] == [1] * 300
        await_that(lambda: not any(thing() is not None for thing in kept))


class _Asking:
    """An argument that, as it goes, has another thread use the future of its task."""

    stuck: ClassVar[list[bool]] = []
    future: Any

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ()

    def __del__(self) -> None:
        asking = threading.Thread(target=self.future.add_done_callback, args=(id,))
        asking.start()
        asking.join(PATIENCE)
        self.stuck.append(asking.is_alive())


@pytest.mark.parametrize("method", METHODS)
def test_arguments_go_without_a_lock(context: Context) -> None:
    def submit(executor: Executor) -> Any:
        argument = _Asking()
        argument.future = executor.submit(bool, argument)
        return argument.future

    _Asking.stuck.clear()
    with context.Executor(1) as executor:
        futures = [submit(executor) for _ in range(3)]
        assert [future.result(PATIENCE) for future in futures] == [False] * 3
        await_that(lambda: len(_Asking.stuck) == 3)
    assert not any(_Asking.stuck)


@pytest.mark.parametrize("method", METHODS)
def test_an_executor_ends_that_is_dropped_with_tasks_that_were_cancelled(
    method: str, gate: Gate
) -> None:
    def leave() -> weakref.ref[Any]:
        executor = polyexec.get_context(method).Executor(1)
        first = executor.submit(pass_gate, gate.address)
        others = [executor.submit(int, number) for number in range(3)]
        gate.await_arrivals(1)
        assert [other.cancel() for other in others] == [True] * 3
        gate.open()
        first.result(PATIENCE)
        return weakref.ref(executor)

    dropped = leave()
    await_that(lambda: dropped() is None)  # the reactor may be about to let go of the last task


@pytest.mark.parametrize("method", LOCAL)
def test_what_a_process_takes_by_value_is_kept_by_nothing(context: Context) -> None:
    def start() -> weakref.ref[Any]:
        queue = context.Queue()
        process = context.Process(target=lambda: queue.put("item"))
        process.start()
        assert queue.get(timeout=PATIENCE) == "item"
        process.join(PATIENCE)
        queue.close()
        queue.join_thread()
        return weakref.ref(queue)

    assert start()() is None


class _Locked:
    def __init__(self) -> None:
        self.lock = threading.Lock()


class _Refusing:
    def __reduce__(self) -> NoReturn:
        raise tasks.PlainError


@pytest.mark.parametrize("kind", [_Locked, _Refusing])
def test_what_can_not_be_sent_is_kept_by_nothing(kind: type[Any]) -> None:
    def send() -> weakref.ref[Any]:
        obj = kind()
        try:
            dumps(obj)
        except (polyexec.UnpicklableError, tasks.PlainError):
            return weakref.ref(obj)
        pytest.fail("no error")

    assert send()() is None


@pytest.mark.parametrize("method", METHODS)
def test_the_future_of_what_can_not_be_sent_is_kept_by_nothing(context: Context) -> None:
    def submit(executor: Executor) -> weakref.ref[Any]:
        future = executor.submit(id, _Locked())
        try:
            future.result()
        except polyexec.UnpicklableError as error:
            error.__traceback__ = None  # which leads here
            return weakref.ref(future)
        pytest.fail("no error")

    with context.Executor(1) as executor:
        assert submit(executor)() is None


@pytest.mark.parametrize("method", METHODS)
def test_what_can_not_be_sent_shows_whose_code_refuses(context: Context) -> None:
    with context.Executor(1) as executor:
        error = executor.submit(id, _Refusing()).exception()
    shown = traceback.format_exception(error)
    assert "in __reduce__" in shown[1]


WITHOUT = """
import functools
import gc
import threading
import time
import weakref
from polyexec.serialization.payloads import dumps
from polyexec.testing._gate import Gate
from polyexec.testing.tasks import pass_gate

lock = threading.Lock()

class Held:
    pass

def use(held):
    return lock

def send():
    held = Held()
    dumps(functools.partial(use, held))
    return weakref.ref(held)

gc.disable()
print(send()())
"""


@pytest.mark.parametrize("method", ["spawn"])
def test_what_can_be_sent_without_a_global_is_kept_by_nothing(program: Runner) -> None:
    assert program.lines(WITHOUT) == ["None"]
