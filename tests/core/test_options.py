"""Task options: a view of an executor that submits with them."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import FakeContext, InlineExecutor, fake
from polyexec import WorkerLostError, capabilities

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def threads() -> Iterator[polyexec.Executor]:
    with polyexec.get_context("thread").Executor(1) as executor:
        yield executor


class _Flaky:
    """Fails so many times, then returns its argument."""

    def __init__(self, times: int, error: type[BaseException] = ConnectionError) -> None:
        self.times = times
        self.error = error
        self.calls = 0

    def __call__(self, value: int = 0) -> int:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error(self.calls)
        return value


def test_what_a_context_cannot_do_is_refused_with_capability_and_alternatives(
    threads: polyexec.Executor,
) -> None:
    with pytest.raises(polyexec.NotSupportedError, match="kill_running") as caught:
        threads.options(timeout=1.5)
    assert caught.value.capability == capabilities.KILL_RUNNING
    assert "thread" not in caught.value.alternatives
    assert "options(timeout=1.5)" in str(caught.value)


def test_no_timeout_is_no_option_to_refuse(threads: polyexec.Executor) -> None:
    assert threads.options(timeout=None, priority=0, resources={}).submit(int).result() == 0


def test_an_unknown_option_names_the_one_meant(threads: polyexec.Executor) -> None:
    with pytest.raises(TypeError, match=r"no option 'retry'; did you mean 'retries'\?"):
        threads.options(retry=1)  # type: ignore[call-arg]  # the mistake


@pytest.mark.parametrize(
    "options",
    [
        {"retries": -1},
        {"retries": 1.5},
        {"retries": "3"},
        {"retry_exceptions": ValueError},
        {"retry_exceptions": [ValueError]},
        {"retry_exceptions": (ValueError, "KeyError")},
        {"priority": "high"},
        {"priority": math.nan},
        {"name": 7},
    ],
    ids=str,
)
def test_a_bad_value_is_refused_at_once(
    threads: polyexec.Executor, options: dict[str, Any]
) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        threads.options(**options)


@pytest.mark.parametrize("timeout", [0, -1, math.nan, "5"])
def test_a_bad_timeout_is_refused_at_once(timeout: Any) -> None:
    context = FakeContext(InlineExecutor, frozenset({capabilities.KILL_RUNNING}))
    with pytest.raises((TypeError, ValueError), match="timeout"):
        context.Executor().options(timeout=timeout)


def test_a_bad_priority_spoils_no_later_one(threads: polyexec.Executor) -> None:
    view: Any = threads.options
    try:
        outcome = view(priority="high").submit(int).exception()
    except (TypeError, ValueError) as error:
        outcome = error
    assert isinstance(outcome, (TypeError, ValueError))
    assert threads.options(priority=2).submit(int).result() == 0


def test_a_task_of_higher_priority_goes_first(threads: polyexec.Executor) -> None:
    go = threading.Event()
    order: list[int] = []
    threads.submit(go.wait)
    for priority in (0, -1, 5, 0, 5):
        threads.options(priority=priority).submit(order.append, priority)
    go.set()
    threads.shutdown()
    assert order == [5, 5, 0, 0, -1]


def test_a_priority_for_each_task_leaves_nothing_behind(threads: polyexec.Executor) -> None:
    for priority in range(1, 200):
        threads.options(priority=priority).submit(int).result()
    assert not threads._crew.inbox._urgent._tasks  # type: ignore[attr-defined]  # the thread backend's


def test_failures_are_retried_within_their_budget(executor: Any) -> None:
    task = _Flaky(2)
    view = executor.options(retries=2, retry_exceptions=(ConnectionError,))
    future = view.submit(task, 9)
    executor.run_all()
    assert (future.result(0), task.calls, future.attempts) == (9, 3, 3)


def test_retries_alone_do_not_repeat_failures_of_the_tasks_own(executor: Any) -> None:
    task = _Flaky(1)
    future = executor.options(retries=5).submit(task)
    executor.run_all()
    assert isinstance(future.exception(0), ConnectionError)
    assert task.calls == 1


def test_only_the_named_exceptions_are_retried(executor: Any) -> None:
    task = _Flaky(1, KeyError)
    view = executor.options(retries=5, retry_exceptions=(ConnectionError,))
    future = view.submit(task)
    executor.run_all()
    assert isinstance(future.exception(0), KeyError)


def test_losses_and_failures_have_separate_budgets(executor: Any) -> None:
    view = executor.options(retries=1, retry_exceptions=(ConnectionError,))
    future = view.submit(_Flaky(1), 4)
    task = executor.tasks.popleft()
    task.start("w")
    assert task.lose(WorkerLostError("gone"))
    executor.run_all()
    assert future.result(0) == 4


def test_a_loss_beyond_the_budget_is_the_outcome(executor: Any) -> None:
    future = executor.submit(int)
    task = executor.tasks.popleft()
    task.start("w")
    assert task.lose(WorkerLostError("gone"))
    assert isinstance(future.exception(0), WorkerLostError)


def test_a_refused_retry_ends_the_task_because_of_the_first_error(executor: Any) -> None:
    future = executor.options(retries=1).submit(int)
    task = executor.tasks.popleft()
    task.start("w")
    executor.accept = lambda _: (_ for _ in ()).throw(OSError("no room"))
    task.lose(WorkerLostError("gone"))
    assert isinstance(future.exception(0), OSError)
    assert isinstance(future.exception(0).__cause__, WorkerLostError)


def test_a_cancelled_task_is_not_retried(executor: Any) -> None:
    future = executor.options(retries=3).submit(int)
    task = executor.tasks.popleft()
    task.start("w")
    task.lose(WorkerLostError("gone"))
    assert future.cancel()
    executor.run_all()
    assert future.attempts == 1


def test_views_build_upon_each_other_and_share_the_pool(executor: Any) -> None:
    base = executor.options(retries=2, name="base")
    view = base.options(name="view")
    future = view.submit(int)
    task = executor.tasks[0]
    assert (task.options.retries, task.options.name, future.name) == (2, "view", "view")
    assert base.submit(int).name == "base"
    assert view._max_workers == executor._max_workers


def test_an_option_collides_with_no_keyword_of_the_task(executor: Any) -> None:
    future = executor.options(name="job").submit(dict, name="x", timeout=1, fn=2, self=3)
    executor.run_all()
    assert future.result(0) == {"name": "x", "timeout": 1, "fn": 2, "self": 3}


def test_map_through_a_view_uses_its_options_for_each_item(threads: polyexec.Executor) -> None:
    view = threads.options(retries=2, retry_exceptions=(ConnectionError,))
    assert list(view.map(_Flaky(2), range(3))) == [0, 1, 2]


def test_chunks_are_refused_where_each_items_failure_shall_be_retried(
    threads: polyexec.Executor,
) -> None:
    view = threads.options(retries=2, retry_exceptions=(ConnectionError,))
    with pytest.raises(ValueError, match="chunksize"):
        view.map(_Flaky(1), range(4), chunksize=2)


def test_options_hold_for_each_item_where_chunks_would_be_adapted() -> None:
    with fake(InlineExecutor) as executor:
        view = executor.options(retries=1, retry_exceptions=(ConnectionError,))
        assert list(view.map(_Flaky(1), range(10))) == list(range(10))


def test_shutting_a_view_down_shuts_the_pool_down(executor: Any) -> None:
    with executor.options(name="view") as view:
        future = view.submit(int)
        executor.run_all()
    assert future.result(0) == 0
    with pytest.raises(polyexec.ExecutorShutdownError):
        executor.submit(int)


def test_ctrl_c_within_a_view_waits_for_no_running_task() -> None:
    go = threading.Event()
    executor = polyexec.get_context("thread").Executor(1)
    running = threading.Event()

    def task() -> None:
        running.set()
        go.wait(5)

    def body() -> None:
        with executor.options(name="view") as view:
            view.submit(task)
            running.wait(5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        body()
    assert executor.busy == 1
    go.set()
