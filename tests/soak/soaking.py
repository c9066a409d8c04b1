"""One soak on one context, and the report of it."""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import polyexec
from process.programs import MARK
from soak.attack import Killer
from soak.flow import Churner, Submitter
from soak.kinds import PATIENCE
from soak.ledger import Ledger
from soak.watch import Watch, belongings, left_behind

if TYPE_CHECKING:
    from pathlib import Path

#: Threads that submit, to each of two executors.
SUBMITTERS = 2
WORKERS = 2
#: Seconds for the last tasks, and for closing.
LAST = 5 * PATIENCE


class Plan(NamedTuple):
    """What is asked for: at least so many *seconds* and *tasks*, a kill at each *interval*."""

    context: str
    seconds: float
    tasks: int
    interval: float
    #: What all processes of this run carry in their environment.
    mark: str


def soak(plan: Plan, folder: Path) -> bool:
    """Have tasks flow, and report; return whether all was well."""
    name = plan.context
    faulthandler.dump_traceback_later(plan.seconds + 3600, exit=True)
    warm_up(name)
    before, begin = belongings(), time.monotonic()
    ledger = Ledger(folder / "notes")
    with polyexec.get_context(name) as context:
        lines, faults = attacked(context, ledger, plan)
    elapsed = time.monotonic() - begin
    faults += ledger.faults() + left_behind(before, PATIENCE / 4)
    kinds = ", ".join(f"{count} {kind}" for kind, count in ledger.kinds.most_common())
    say(f"{name}: {ledger.issued} tasks in {elapsed:.0f} s ({kinds})")
    say(f"  {ledger.retries} retries, {ledger.lost} lost without; {'; '.join(lines)}")
    for fault in faults[:20]:
        say(f"  VIOLATION: {fault}")
    say(f"  {len(faults)} violations" if faults else "  no violation")
    faulthandler.cancel_dump_traceback_later()
    return not faults


def attacked(context: Any, ledger: Ledger, plan: Plan) -> tuple[list[str], list[str]]:
    """Run it all; return lines for the report, and what is wrong."""
    stop, over = threading.Event(), threading.Event()
    executors = [context.Executor(WORKERS), context.Executor(WORKERS, max_tasks_per_child=2000)]
    submitters = [Submitter(each, ledger, stop) for each in executors for _ in range(SUBMITTERS)]
    killer = Killer(executors, plan.interval, f"{MARK}={plan.mark}".encode(), stop)
    watch, churner = Watch(plan.mark, stop), Churner(context, ledger, stop)
    threads = [*submitters, killer, watch, churner]
    for thread in threads:
        thread.daemon = True  # should one hang, the report is made all the same
        thread.start()
    begin = time.monotonic()
    while time.monotonic() < begin + plan.seconds or ledger.issued < plan.tasks:
        if not all(thread.is_alive() for thread in submitters):
            break
        over.wait(0.2)
    stop.set()
    faults = [f"{thread.name} hangs" for thread in threads if not ends(thread)]
    closer = threading.Thread(target=lambda: [each.shutdown() for each in executors], daemon=True)
    closer.start()
    if not ends(closer):
        faults.append("shutdown hangs")
    if faults:
        faulthandler.dump_traceback(all_threads=True)
    deaths = f"{killer.kills} workers killed, {killer.stops} of them while stopped"
    return [deaths, f"{churner.times} more executors", watch.peaks()], faults + watch.faults()


def ends(thread: threading.Thread) -> bool:
    """Return whether *thread* ends."""
    thread.join(LAST)
    return not thread.is_alive()


def warm_up(name: str) -> None:
    """Do once what leaves threads and descriptors that stay."""
    with polyexec.get_context(name) as context, context.Executor(1) as executor:
        executor.submit(len, bytes(1 << 20)).result(PATIENCE)  # large, as some libraries wait for


def say(line: str) -> None:
    """Write a line of the report."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
