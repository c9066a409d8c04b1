"""What tasks log, and how it reaches the program's loggers."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import selectors
import sys
import threading
from typing import TYPE_CHECKING

import pytest

import tasks
from core.fakes import PATIENCE
from polyexec.surroundings import handle_record
from polyexec.testing import tasks as kit_tasks
from polyexec_process._records import Inflow, Records
from process.programs import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from polyexec import Context
    from process.programs import Runner


NAME = "polyexec.test.surroundings"
logger = logging.getLogger(NAME)


class Ear(logging.Handler):
    """Hears records, and then does something."""

    def __init__(self, then: Callable[[logging.LogRecord], object] = lambda _: None) -> None:
        super().__init__()
        self.then = then
        self.heard: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record)
        self.then(record)

    @property
    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.heard]


@pytest.fixture
def ear() -> Iterator[Ear]:
    ear = Ear()
    logger.addHandler(ear)
    yield ear
    logger.removeHandler(ear)


def test_only_the_parents_handlers_handle_a_record_and_once(context: Context, ear: Ear) -> None:
    pids = []
    ear.then = lambda _: pids.append(os.getpid())
    with context.Executor(1) as executor:
        executor.submit(kit_tasks.log, NAME, logging.WARNING, "it").result(PATIENCE)
        worker = executor.submit(os.getpid).result(PATIENCE)
    assert pids == [os.getpid()]
    assert ear.heard[0].process == worker


def test_a_logger_that_keeps_to_itself_still_handles_its_records(
    context: Context, ear: Ear, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logger, "propagate", False)
    with context.Executor(1) as executor:
        executor.submit(kit_tasks.log, NAME, logging.WARNING, "it").result(PATIENCE)
    assert ear.texts == ["told it"]
    assert caplog.records == []


def test_a_filter_of_the_parents_is_asked(
    context: Context, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "filters", [lambda record: record.args == ("yes",)])
    with context.Executor(1) as executor:
        executor.submit(kit_tasks.log, NAME, logging.WARNING, "yes", "no").result(PATIENCE)
    assert ear.texts == ["told yes"]


def test_a_record_keeps_its_arguments_where_they_can_be_pickled(context: Context, ear: Ear) -> None:
    with context.Executor(1) as executor:
        executor.submit(kit_tasks.log, NAME, logging.WARNING, {"key": 1}).result(PATIENCE)
        executor.submit(tasks.log_unpicklable, NAME).result(PATIENCE)
        executor.submit(tasks.log_trap, NAME).result(PATIENCE)
    whole, lock, trap = ear.heard
    assert whole.args == {"key": 1}
    assert "told <unlocked _thread.lock object" in lock.getMessage()
    assert "lock" in lock.__dict__["extra"]
    assert "told <polyexec.testing.tasks.Trap object" in trap.getMessage()


def test_a_large_record_arrives_whole(context: Context, ear: Ear) -> None:
    text = "x" * (3 << 20)
    with context.Executor(1) as executor:
        executor.submit(kit_tasks.log, NAME, logging.WARNING, text, "end").result(PATIENCE)
    assert ear.texts == [f"told {text}", "told end"]


def test_a_level_with_a_name_of_its_own_keeps_it(context: Context, ear: Ear) -> None:
    logging.addLevelName(35, "LOUD")
    with context.Executor(1) as executor:
        executor.submit(kit_tasks.log, NAME, 35, "it").result(PATIENCE)
    assert ear.heard[0].levelname == "LOUD"


def test_a_future_ends_after_a_slow_handler_and_hinders_no_other(
    context: Context, ear: Ear
) -> None:
    called, released = threading.Event(), threading.Event()

    def wait(_: object) -> None:
        called.set()
        released.wait(PATIENCE)

    ear.then = wait
    with context.Executor(1) as loud, context.Executor(1) as quiet:
        first = loud.submit(kit_tasks.log, NAME, logging.WARNING, "it")
        assert called.wait(PATIENCE)
        assert quiet.submit(tasks.double, 4).result(PATIENCE) == 8
        assert not first.done()
        released.set()
        first.result(PATIENCE)


def test_a_handler_may_submit_and_wait(context: Context, ear: Ear) -> None:
    results = []
    with context.Executor(1, max_pending=1) as executor:
        ear.then = lambda _: results.append(executor.submit(tasks.double, 4).result(PATIENCE))
        executor.submit(kit_tasks.log, NAME, logging.WARNING, 1, 2).result(PATIENCE)
        assert results == [8, 8]


def test_a_handler_that_waits_for_a_task_that_logs_is_not_waited_for(
    context: Context, ear: Ear
) -> None:
    log = functools.partial(kit_tasks.log, NAME, logging.WARNING)
    ended = threading.Event()

    def wait(record: logging.LogRecord) -> None:
        if record.args == (1,):
            executor.submit(log, 2).result(PATIENCE)
            ended.set()

    ear.then = wait
    with context.Executor(1) as executor:
        executor.submit(log, 1).result(PATIENCE)
        assert ended.wait(PATIENCE)
    assert ear.texts == ["told 1", "told 2"]


@pytest.mark.parametrize("method", LOCAL)
def test_a_flood_of_records_waits_in_the_worker(
    context: Context, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, full = threading.Event(), threading.Event()
    held = []
    read = Records._read

    def watch(records: Records, inflow: Inflow, most: int) -> None:
        read(records, inflow, most)
        held.append(inflow.held)
        if inflow.paused:
            full.set()

    monkeypatch.setattr(Records, "_read", watch)
    ear.then = lambda _: released.wait(PATIENCE)
    with context.Executor(1) as executor:
        future = executor.submit(tasks.log_many, NAME, 20_000)
        assert full.wait(PATIENCE)
        assert not future.done()
        released.set()
        future.result(4 * PATIENCE)
    assert max(held) < 2 << 20
    assert ear.texts == [f"many {number}" for number in range(20_000)]


def test_the_end_of_a_workers_records_is_heard_once() -> None:
    records = Records(lambda: None, handle_record)
    with selectors.DefaultSelector() as records.selector:
        records.open(1, memoryview(bytearray(4096)).cast("Q"))
        records.opened(1)  # so that nobody has the other end
        ((key, _),) = records.selector.select(0)
        key.data()
        assert records.selector.select(0) == []
        records.drain(1)


def test_initializers_threads_children_and_exit_hooks_log_too(context: Context, ear: Ear) -> None:
    log = functools.partial(kit_tasks.log, NAME, logging.WARNING)
    with context.Executor(1, initializer=log, initargs=("born",)) as executor:
        executor.submit(tasks.log_from_a_thread, NAME).result(PATIENCE)
        executor.submit(tasks.log_from_a_child, NAME).result(PATIENCE)
        executor.submit(atexit.register, log, "gone").result(PATIENCE)
    assert ear.texts == ["told born", "told thread", "told child", "told gone"]


def test_a_failed_initializer_is_logged_before_the_tasks_end(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    with context.Executor(1, initializer=kit_tasks.fail, initargs=("broken",)) as executor:
        executor.submit(int).exception(PATIENCE)
        assert "Exception in initializer:" in caplog.messages
    assert caplog.messages.count("Exception in initializer:") == 1


def test_a_worker_that_configures_logging_has_it_its_own_way(
    context: Context, ear: Ear, tmp_path: Path
) -> None:
    file = tmp_path / "log"
    configure = functools.partial(logging.basicConfig, force=True, filename=str(file))
    with context.Executor(1, initializer=configure) as executor:
        executor.submit(kit_tasks.log, NAME, logging.WARNING, "it").result(PATIENCE)
    assert ear.texts == []
    assert "told it" in file.read_text(encoding="utf-8")


def test_multiprocessings_logger_keeps_to_itself(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    with context.Executor(1) as executor:
        assert executor.submit(tasks.use_multiprocessings_logger).result(PATIENCE) is False
    assert caplog.records == []


UNCONFIGURED = """
import logging
import polyexec


def work():
    logging.getLogger("program").info("unheard")
    logging.getLogger("program").warning("heard")


if __name__ == "__main__":
    with polyexec.get_context(METHOD).Executor(1) as executor:
        executor.submit(work).result()
"""


def test_where_nobody_configured_logging_warnings_reach_stderr_once(program: Runner) -> None:
    done = program.run(sys.executable, program.write(UNCONFIGURED))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "heard\n")


def test_stderr_is_inherited_where_stdin_and_stdout_are_closed(program: Runner) -> None:
    source = UNCONFIGURED.replace(
        'logging.getLogger("program").warning("heard")',
        "import sys; print('heard', file=sys.stderr)",
    )
    command = 'exec "$@" <&- >&-'
    done = program.run("sh", "-c", command, "sh", sys.executable, program.write(source))
    assert (done.returncode, done.stderr) == (0, "heard\n")
