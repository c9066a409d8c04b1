"""What surrounds a task, and how it gets to a worker process and back."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import selectors
import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

import polyexec
import tasks
from core.fakes import PATIENCE
from polyexec.testing import tasks as kit_tasks
from polyexec_process._records import Inflow, Records

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from polyexec import Context

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


def run(folder: Path, source: str, *flags: str, **options: Any) -> subprocess.CompletedProcess[str]:
    program = folder / "program.py"
    program.write_text(source, encoding="utf-8")
    return subprocess.run(
        [sys.executable, *flags, str(program)],
        text=True,
        timeout=PATIENCE,
        check=False,
        **{"capture_output": True, **options},
    )


# -- logging -----------------------------------------------------------------------------------


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
    records = Records(lambda: None)
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


def test_where_nobody_configured_logging_warnings_reach_stderr_once(
    tmp_path: Path, method: str
) -> None:
    ended = run(tmp_path, UNCONFIGURED.replace("METHOD", repr(method)))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "heard\n")


def test_stderr_is_inherited_where_stdin_and_stdout_are_closed(tmp_path: Path, method: str) -> None:
    source = UNCONFIGURED.replace("METHOD", repr(method)).replace(
        'logging.getLogger("program").warning("heard")',
        "import sys; print('heard', file=sys.stderr)",
    )
    program = tmp_path / "program.py"
    program.write_text(source, encoding="utf-8")
    ended = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} {program} <&- >&-"],
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "heard\n")


# -- warnings ----------------------------------------------------------------------------------


def test_a_filter_that_can_not_be_sent_is_left_out(context: Context) -> None:
    class LocalWarning(UserWarning):
        def __reduce_ex__(self, _: object) -> NoReturn:
            raise TypeError("no")

    category: Any = type("Hidden", (LocalWarning,), {"lock": threading.Lock()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        warnings.filterwarnings("error", "bew.re")
        with context.Executor(1) as executor:
            error = executor.submit(kit_tasks.warn, "beware").exception(PATIENCE)
    assert isinstance(error, UserWarning)


WARNS = """
import warnings
import polyexec


def work():
    warnings.warn("beware")


if __name__ == "__main__":
    with polyexec.get_context(METHOD).Executor(1) as executor:
        print(repr(executor.submit(work).exception()))
"""


def test_the_command_lines_warning_filters_hold_in_workers(tmp_path: Path, method: str) -> None:
    source = WARNS.replace("METHOD", repr(method))
    assert run(tmp_path, source, "-W", "error::UserWarning").stdout == "UserWarning('beware')\n"
    ended = run(tmp_path, source, "-W", "always")
    assert ended.stdout == "None\n"
    assert ended.stderr.count("UserWarning: beware") == 1


# -- context variables -------------------------------------------------------------------------


@pytest.fixture
def tenant() -> Iterator[contextvars.ContextVar[Any]]:
    token = kit_tasks.tenant.set("ours")
    yield kit_tasks.tenant
    kit_tasks.tenant.reset(token)


def test_any_callable_sees_context_variables(
    context: Context, tenant: contextvars.ContextVar[Any]
) -> None:
    callables: list[Callable[[], str]] = [
        kit_tasks.read_tenant,
        functools.partial(kit_tasks.read_tenant, 1),
        lambda: kit_tasks.read_tenant(),  # noqa: PLW0108 - one that travels by value
        tasks.TenantReader().read,
        tasks.TenantReader(),
    ]
    with context.Executor(1, propagate=(tenant,)) as executor:
        futures = [executor.submit(each) for each in callables]
        assert [future.result(PATIENCE) for future in futures] == ["ours"] * 5


def test_a_task_that_is_run_again_sees_the_same_values(
    context: Context, tenant: contextvars.ContextVar[Any], tmp_path: Path
) -> None:
    with context.Executor(1, propagate=(tenant,)) as executor:
        future = executor.options(retries=1).submit(tasks.die_once, str(tmp_path / "died"))
        tenant.set("changed")
        assert future.result(PATIENCE) == "ours"


def test_a_value_that_can_not_be_pickled_fails_its_task_alone(
    context: Context, tenant: contextvars.ContextVar[Any]
) -> None:
    with context.Executor(1, propagate=(tenant,)) as executor:
        for value in (threading.Lock(), kit_tasks.Trap()):
            token = tenant.set(value)
            error = executor.submit(kit_tasks.read_tenant).exception(PATIENCE)
            assert isinstance(error, polyexec.UnpicklableError)
            assert "context variable 'tenant'" in str(error)
            tenant.reset(token)
        assert executor.submit(kit_tasks.read_tenant).result(PATIENCE) == "ours"


def test_an_executor_that_names_no_variables_carries_none(
    context: Context, tenant: contextvars.ContextVar[Any]
) -> None:
    with context.Executor(1) as executor:
        executor.submit(int).result(PATIENCE)
        tenant.set("later")
        assert executor.submit(kit_tasks.read_tenant).result(PATIENCE) != "later"


VARIABLES = """
import contextvars
import polyexec

plain = contextvars.ContextVar("the name is another")
fallback = contextvars.ContextVar("fallback", default=7)


def work():
    return plain.get("unset"), fallback.get()


if __name__ == "__main__":
    context = polyexec.get_context(METHOD)
    with context.Executor(1, propagate=(plain, fallback)) as executor:
        futures = [executor.submit(work)]
        plain.set("set")
        fallback.set(8)
        futures.append(executor.submit(work))
        futures.append(executor.submit(lambda: (plain.get(), fallback.get(), plain)))
        for future in futures[:2]:
            print(*future.result())
        print(futures[2].result()[2] is plain)
"""


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_context_variables_of_the_main_module_work_anywhere(
    tmp_path: Path, method: str, how: str
) -> None:
    source = VARIABLES.replace("METHOD", repr(method))
    if how == "file":
        ended = run(tmp_path, source)
    else:
        ended = subprocess.run(
            [sys.executable, "-"],
            input=source,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert (ended.stdout, ended.stderr) == ("unset 7\nset 8\nTrue\n", "")
