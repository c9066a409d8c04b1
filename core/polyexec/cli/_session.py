"""One run of `polyexec map`: make the parts, run them, and end well."""

from __future__ import annotations

import queue
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

import polyexec
from polyexec.capabilities import KILL_RUNNING
from polyexec.cli._chunk import Job
from polyexec.cli._ending import INTERRUPTED, end_within_grace, on_interrupt
from polyexec.cli._input import LineReader, Supply
from polyexec.cli._messages import complain
from polyexec.cli._output import Output, discard_standard_output, standard_output
from polyexec.cli._progress import progress_bar
from polyexec.cli._pump import Pump
from polyexec.cli._sizing import ChunkSizer
from polyexec.cli._target import add_current_directory, resolve
from polyexec.cli._window import Window

if TYPE_CHECKING:
    from polyexec import Executor
    from polyexec.cli._pump import Event

BUDGET = 0.1  # seconds after which an adaptive chunk returns what it has


@dataclass(frozen=True)
class MapOptions:
    """What the command line of `polyexec map` says."""

    target: str
    items: tuple[str, ...]
    context: str | None
    workers: int | None
    unordered: bool
    timeout: float | None
    retries: int
    chunksize: int | None
    as_json: bool
    tracebacks: bool

    @property
    def one_by_one(self) -> bool:
        """Whether each item has to be a task of its own."""
        return self.timeout is not None or self.retries > 0

    def task_options(self) -> dict[str, Any]:
        """Return the arguments for the executor's `options`."""
        options: dict[str, Any] = {"name": self.target}
        if self.timeout is not None:
            options["timeout"] = self.timeout
        if self.retries:
            options.update(retries=self.retries, retry_exceptions=(Exception,))
        return options

    @property
    def adapts(self) -> bool:
        """Whether chunks may grow and shrink."""
        return not (self.chunksize or self.one_by_one)

    def job(self) -> Job:
        """Return what workers are to do."""
        return Job(
            resolve(self.target, tracebacks=self.tracebacks),
            as_json=self.as_json,
            tracebacks=self.tracebacks,
            raising=self.retries > 0,
            budget=BUDGET if self.adapts else None,
        )

    def check(self) -> None:
        """Raise if some options do not go together."""
        if self.one_by_one and (self.chunksize or 1) > 1:
            raise click.UsageError(
                f"--chunksize {self.chunksize} does not go with --timeout or --retries,"
                " which count for each item; leave one of them out"
            )


def run_map(options: MapOptions) -> int:
    """Do the work and return the exit code."""
    options.check()
    output = Output(standard_output())
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    supply = _supply(options, events)
    add_current_directory()
    job = options.job()
    with (
        polyexec.get_context(options.context) as context,
        context.Executor(options.workers) as executor,
    ):
        view = executor.options(**options.task_options())
        pump = Pump(
            lambda chunk: view.submit(job.run, chunk),
            job,
            events=events,
            supply=supply,
            sizer=ChunkSizer(None if options.adapts else options.chunksize or 1),
            window=Window(workers=executor._max_workers, ordered=not options.unordered),
            output=output,
        )
        pump.prepare(executor)
        with on_interrupt(pump.interrupt):
            return _work(pump, output, executor, reads_stdin=not options.items)


def _supply(options: MapOptions, events: queue.SimpleQueue[Event]) -> Supply:
    """Return the arguments, or standard input as it is being read."""
    if options.items:
        return Supply(options.items)
    if sys.stdin is None:
        raise click.UsageError(
            "standard input is closed; give items as arguments, or lines from a file or pipe"
        )
    reader = LineReader(sys.stdin.fileno(), events.put)
    return Supply(reader=reader)


def _work(pump: Pump, output: Output, executor: Executor, *, reads_stdin: bool) -> int:
    """Run the pump to its end, early or not, and return the exit code."""
    try:
        with progress_bar(reads_stdin=reads_stdin) as update:
            pump.run(update)
    except KeyboardInterrupt:
        end_within_grace(INTERRUPTED)
        _drop(executor)
        output.summary()
        complain(f"interrupted; items done: {output.items}")
        return INTERRUPTED
    except OSError as error:
        return _output_failed(error, output, executor)
    except click.ClickException:
        output.summary()
        raise
    output.summary()
    return int(output.failed > 0)


def _output_failed(error: OSError, output: Output, executor: Executor) -> int:
    """End early since results can't be written: quietly, if their reader has just seen enough."""
    enough = isinstance(error, BrokenPipeError)
    code = int(output.failed > 0 or not enough)
    end_within_grace(code)
    discard_standard_output()
    if not enough:
        complain(f"results could not be written: {error.strerror}")
    _drop(executor)
    return code


def _drop(executor: Executor) -> None:
    """End the executor without waiting for the tasks that run."""
    executor.shutdown(wait=False, cancel_futures=True)
    if KILL_RUNNING in executor.context.capabilities:
        executor.terminate_workers()
