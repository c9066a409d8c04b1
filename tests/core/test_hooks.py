"""Every hook: called when its docstring says, with its arguments, and harmless when it fails."""

from __future__ import annotations

import gc
import inspect
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import PATIENCE, QueueingExecutor, SpreadingExecutor, ends, fake
from polyexec import WorkerLostError, hookimpl, hookspecs
from polyexec._registry import current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Observe = Callable[[Any], Any]


@pytest.fixture
def observe() -> Iterator[Observe]:
    """Register plugins for the length of the test."""
    manager = current()._manager
    plugins: list[Any] = []

    def register(plugin: Any) -> Any:
        manager.register(plugin)
        plugins.append(plugin)
        return plugin

    yield register
    for plugin in plugins:
        manager.unregister(plugin)


class _Log:
    """Notes every event with its facts."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    def facts(self, event: str) -> dict[str, Any]:
        return next(facts for name, facts in self.events if name == event)

    @hookimpl
    def polyexec_context_created(self, name: Any, context: Any) -> None:
        self.events.append(("context_created", {"name": name, "context": context}))

    @hookimpl
    def polyexec_executor_started(self, executor: Any) -> None:
        self.events.append(("executor_started", {"executor": executor}))

    @hookimpl
    def polyexec_executor_stopped(self, executor: Any) -> None:
        self.events.append(("executor_stopped", {"executor": executor}))

    @hookimpl
    def polyexec_task_submitted(self, executor: Any, future: Any, fn: Any) -> None:
        facts = {"executor": executor, "future": future, "fn": fn, "thread": _thread()}
        self.events.append(("task_submitted", facts))

    @hookimpl
    def polyexec_task_started(self, executor: Any, future: Any) -> None:
        facts = {"executor": executor, "future": future, "running": future.running()}
        self.events.append(("task_started", facts))

    @hookimpl
    def polyexec_task_finished(self, executor: Any, future: Any) -> None:
        facts = {"executor": executor, "future": future, "done": future.done()}
        self.events.append(("task_finished", facts))

    @hookimpl
    def polyexec_task_retried(self, executor: Any, future: Any, error: Any) -> None:
        facts = {"executor": executor, "future": future, "error": error}
        self.events.append(("task_retried", facts))

    @hookimpl
    def polyexec_worker_started(self, executor: Any, worker: Any) -> None:
        self.events.append(("worker_started", {"executor": executor, "worker": worker}))

    @hookimpl
    def polyexec_worker_lost(self, executor: Any, worker: Any, error: Any) -> None:
        facts = {"executor": executor, "worker": worker, "error": error}
        self.events.append(("worker_lost", facts))


class _Failing:
    """Fails in every hook."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    @hookimpl
    def polyexec_context_created(self) -> None:
        raise self.error

    @hookimpl
    def polyexec_executor_started(self) -> None:
        raise self.error

    @hookimpl
    def polyexec_executor_stopped(self) -> None:
        raise self.error

    @hookimpl
    def polyexec_task_submitted(self) -> None:
        raise self.error

    @hookimpl
    def polyexec_task_started(self) -> None:
        raise self.error

    @hookimpl
    def polyexec_task_finished(self) -> None:
        raise self.error

    @hookimpl
    def polyexec_task_retried(self) -> None:
        raise self.error

    @hookimpl
    def polyexec_worker_started(self) -> None:
        raise self.error

    @hookimpl
    def polyexec_worker_lost(self) -> None:
        raise self.error

    @hookimpl
    def polyexec_task_wrapper(self) -> None:
        raise self.error


def _thread() -> threading.Thread:
    return threading.current_thread()


def _threads(max_workers: int = 1, **options: Any) -> Any:
    return polyexec.get_context("thread").Executor(max_workers, **options)


class _FailOnce:
    calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls == 1:
            raise ConnectionError
        return self.calls


# -- what is told --------------------------------------------------------------------------------


def test_every_hook_is_covered_here() -> None:
    specified = {name for name in hookspecs.__all__ if name.startswith("polyexec_")}
    tested = {name for name in vars(_Failing) if name.startswith("polyexec_")}
    assert specified - tested == {"polyexec_cli_commands", "polyexec_create_context"}


def test_every_hook_says_when_it_is_called() -> None:
    for name in hookspecs.__all__:
        if name.startswith("polyexec_"):
            assert (inspect.getdoc(getattr(hookspecs, name)) or "").startswith("Called ")


def test_a_context_is_told_with_its_name(observe: Observe) -> None:
    log = observe(_Log())
    context = polyexec.get_context("thread")
    assert log.events == [("context_created", {"name": "thread", "context": context})]


def test_a_task_is_told_in_order(observe: Observe) -> None:
    log = observe(_Log())
    with fake(QueueingExecutor) as executor:
        future = executor.submit(int)
        executor.run_all()
    assert log.names() == [
        "executor_started",
        "task_submitted",
        "task_started",
        "task_finished",
        "executor_stopped",
    ]
    for _, facts in log.events:
        assert facts["executor"] is executor
        assert facts.get("future", future) is future
    assert log.facts("task_submitted")["fn"] is int
    assert log.facts("task_submitted")["thread"] is _thread()
    assert log.facts("task_started")["running"] is True
    assert log.facts("task_finished")["done"] is True


def test_an_executor_that_ran_nothing_is_not_told_of(observe: Observe) -> None:
    log = observe(_Log())
    fake(QueueingExecutor).shutdown()
    assert log.names() == []


def test_an_executor_is_told_once_however_often_it_is_shut_down(observe: Observe) -> None:
    log = observe(_Log())
    executor = _threads()
    for _ in range(3):
        executor.submit(int)
    for _ in range(3):
        executor.shutdown()
    assert log.names().count("executor_started") == 1
    assert log.names().count("executor_stopped") == 1


def test_a_task_cancelled_before_its_start_is_told_as_finished(observe: Observe) -> None:
    log = observe(_Log())
    executor = fake(QueueingExecutor)
    executor.submit(int).cancel()
    executor.run_all()
    assert log.names() == ["executor_started", "task_submitted", "task_finished"]


def test_a_refused_task_is_told_neither_as_submitted_nor_as_finished(observe: Observe) -> None:
    log = observe(_Log())
    executor = fake(QueueingExecutor)
    executor.shutdown()
    with pytest.raises(polyexec.ExecutorShutdownError):
        executor.submit(int)
    assert "task_submitted" not in log.names()
    assert "task_finished" not in log.names()


def test_a_retry_is_told_with_its_error(observe: Observe) -> None:
    log = observe(_Log())
    executor = fake(QueueingExecutor)
    view = executor.options(retries=1, retry_exceptions=(ConnectionError,))
    future = view.submit(_FailOnce())
    executor.run_all()
    assert future.result(0) == 2
    assert log.names()[2:] == ["task_started", "task_retried", "task_started", "task_finished"]
    assert isinstance(log.facts("task_retried")["error"], ConnectionError)


def test_a_worker_is_told_by_the_name_that_futures_have(observe: Observe) -> None:
    log = observe(_Log())
    with _threads() as executor:
        future = executor.submit(int)
        future.result(PATIENCE)
    assert log.facts("worker_started") == {"executor": executor, "worker": future.worker}


def test_a_lost_worker_is_told_with_its_error(observe: Observe) -> None:
    log = observe(_Log())
    executor = fake(QueueingExecutor)
    executor.submit(int)
    error = WorkerLostError("gone")
    executor.worker_lost("w", error)
    facts = {"executor": executor, "worker": "w", "error": error}
    assert log.events[-1] == ("worker_lost", facts)


def test_the_last_task_is_told_before_the_executors_end(observe: Observe) -> None:
    log = observe(_Log())
    stopped = threading.Event()

    class _Slow:
        @hookimpl
        def polyexec_task_finished(self) -> None:
            stopped.wait(0.1)

        @hookimpl
        def polyexec_executor_stopped(self) -> None:
            stopped.set()

    observe(_Slow())
    executor = fake(SpreadingExecutor)
    executor.submit(int).result(PATIENCE)
    ends(executor.shutdown)
    assert log.names()[-2:] == ["task_finished", "executor_stopped"]


def test_a_map_is_told_task_by_task(observe: Observe) -> None:
    log = observe(_Log())
    with _threads() as executor:
        assert list(executor.map(abs, range(5))) == [*range(5)]
    assert log.names().count("task_submitted") == 5
    assert log.names().count("task_finished") == 5


def test_an_observer_may_take_only_what_it_wants(observe: Observe) -> None:
    class _Choosy:
        got: Any = None

        @hookimpl
        def polyexec_task_finished(self, future: Any) -> None:
            self.got = future

    choosy = observe(_Choosy())
    with _threads() as executor:
        future = executor.submit(int)
    assert choosy.got is future


def test_observers_registered_later_do_not_see_an_executor_that_runs(observe: Observe) -> None:
    with _threads() as executor:
        executor.submit(int).result(PATIENCE)
        log = observe(_Log())
        executor.submit(int).result(PATIENCE)
    assert log.names() == []


# -- harm ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, SystemExit, GeneratorExit])
def test_an_observer_that_fails_hurts_nobody(
    observe: Observe, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    log = observe(_Log())
    observe(_Failing(error))
    also = observe(_Log())
    executor = _threads(2)
    futures = [executor.submit(int) for _ in range(5)]
    view = executor.options(retries=1, retry_exceptions=(ConnectionError,))
    futures.append(view.submit(_FailOnce()))
    assert [future.result(3) for future in futures] == [0, 0, 0, 0, 0, 2]
    ends(executor.shutdown, seconds=3)
    assert sorted(log.names()) == sorted(also.names())
    assert "task_retried" in log.names()
    assert caplog.records


def test_an_observer_that_is_interrupted_leaves_no_task_behind(observe: Observe) -> None:
    class _Interrupted:
        @hookimpl
        def polyexec_task_submitted(self) -> None:
            raise KeyboardInterrupt

    observe(_Interrupted())
    executor = _threads()
    with pytest.raises(KeyboardInterrupt):
        executor.submit(int)
    assert executor.busy == 0
    ends(executor.shutdown, seconds=3)


def test_an_observer_may_submit(observe: Observe) -> None:
    class _Submitting:
        nested: Any = None

        @hookimpl
        def polyexec_task_finished(self, executor: Any) -> None:
            if self.nested is None:
                self.nested = 1
                self.nested = executor.submit(int)

    submitting = observe(_Submitting())
    executor = _threads(max_pending=1)
    future = ends(executor.submit, int)
    assert future.result(PATIENCE) == 0
    while not isinstance(submitting.nested, polyexec.Future):
        future = ends(executor.submit, int)
    assert submitting.nested.result(PATIENCE) == 0
    ends(executor.shutdown)


def test_what_nobody_listens_to_costs_nothing() -> None:
    with _threads() as executor:
        executor.submit(int).result(PATIENCE)
        assert executor._ledger.observers is None
        assert executor._ledger.wrap is None


def test_an_observer_does_not_keep_a_dropped_executor_alive(observe: Observe) -> None:
    class _Counting:
        @hookimpl
        def polyexec_task_finished(self) -> None:
            """Listen."""

    observe(_Counting())
    executor = _threads()
    executor.submit(int).result(PATIENCE)
    worker = next(iter(executor._threads))
    reference = weakref.ref(executor)
    del executor
    worker.join(PATIENCE)
    gc.collect()
    assert reference() is None


# -- the task wrapper ----------------------------------------------------------------------------


def test_wrappers_go_around_every_task(observe: Observe) -> None:
    class _Wrapping:
        def __init__(self) -> None:
            self.asked: list[Any] = []

        @hookimpl
        def polyexec_task_wrapper(self, executor: Any) -> Any:
            self.asked.append(executor)
            return lambda fn: lambda *args, **kwargs: ("wrapped", fn(*args, **kwargs))

    wrapping = observe(_Wrapping())
    with _threads() as executor:
        assert executor.submit(int, "3").result(PATIENCE) == ("wrapped", 3)
        assert list(executor.map(abs, [-1])) == [("wrapped", 1)]
    assert wrapping.asked == [executor]


def test_a_wrapper_that_declines_is_left_out(observe: Observe) -> None:
    class _Declining:
        @hookimpl
        def polyexec_task_wrapper(self) -> None:
            return None

    observe(_Declining())
    with _threads() as executor:
        assert executor.submit(int, "3").result(PATIENCE) == 3
        assert executor._ledger.wrap is None


def test_a_wrapped_task_keeps_its_name_and_is_told_by_its_function(observe: Observe) -> None:
    class _Wrapping:
        @hookimpl
        def polyexec_task_wrapper(self) -> Any:
            return lambda fn: fn

    observe(_Wrapping())
    log = observe(_Log())
    with _threads() as executor:
        assert executor.submit(int).name == "int"
    assert log.facts("task_submitted")["fn"] is int


def test_a_wrapper_that_fails_in_the_worker_fails_the_task(observe: Observe) -> None:
    def decorate(fn: Any) -> Any:
        raise ValueError(fn)

    class _Wrapping:
        @hookimpl
        def polyexec_task_wrapper(self) -> Any:
            return decorate

    observe(_Wrapping())
    with _threads() as executor:
        assert isinstance(executor.submit(int).exception(PATIENCE), ValueError)


# -- the command line ----------------------------------------------------------------------------


def test_commands_of_plugins_are_collected_and_bad_ones_are_a_warning(observe: Observe) -> None:
    class _Good:
        @hookimpl
        def polyexec_cli_commands(self) -> list[str]:
            return ["command"]

    class _Bad:
        @hookimpl
        def polyexec_cli_commands(self) -> list[str]:
            raise ValueError("boom")

    observe(_Good())
    observe(_Bad())
    with pytest.warns(polyexec.PolyexecWarning, match="boom"):
        commands = current().cli_commands()
    assert "command" in commands  # installed plugins may add theirs
