"""Chaos in a cluster of three nodes on hosts of their own: `python tests/soak/chaos.py --help`.

Workers, nodes and the head are killed, stopped and cut off at random, while tasks flow that may be
retried. Each must end exactly once, with the result that it has without any of that.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.company import Company, Member

NODES = ("a", "b", "c")
#: How many seconds the last tasks may take once nothing happens any more.
LAST = 300.0


def parsed() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="how long at least")
    parser.add_argument("--tasks", type=int, default=20_000, help="how many at least")
    parser.add_argument("--interval", type=float, default=2.0, help="seconds between two attacks")
    parser.add_argument("--lease", type=float, default=6.0, help="the head's, in seconds")
    parser.add_argument("--seed", type=int, default=None, help="for the same attacks again")
    return parser.parse_args()


class Attacker:
    """Does harm to *company*, and sees to it that there is somebody again."""

    def __init__(self, company: Company, seed: int) -> None:
        self._company = company
        self._random = random.Random(seed)
        self._head: Member = company.head()
        self._nodes: dict[str, Member] = {name: company.node(name) for name in NODES}
        #: The program whose tasks flow, once it does.
        self.program: Member | None = None
        self.counts: Counter[str] = Counter()
        self._attacks: list[tuple[Callable[[], None], int]] = [
            (self._kill_worker, 10),
            (self._kill_node, 3),
            (self._kill_head, 3),
            (self._cut_off, 4),
            (self._stop, 3),
        ]

    def attack(self) -> None:
        """Do one thing."""
        attacks, weights = zip(*self._attacks, strict=True)
        attack = self._random.choices(attacks, weights)[0]
        attack()
        self.counts[attack.__name__.strip("_").replace("_", " ")] += 1

    def _kill_worker(self) -> None:
        node = self._nodes[self._random.choice(NODES)]
        workers = workers_of(node.pid)
        if workers:
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(self._random.choice(workers), signal.SIGKILL)

    def _kill_node(self) -> None:
        name = self._random.choice(NODES)
        self._nodes[name].close()
        self._pause(3)
        self._nodes[name] = self._company.node(name)

    def _kill_head(self) -> None:
        self._head.close()
        self._pause(3)
        self._head = self._company.head()

    def _cut_off(self) -> None:
        """Cut off a node or the program, for a moment or for longer than the lease."""
        host = self._company.net.hosts[self._random.choice((*NODES, "client"))]
        host.cable(plugged=False)
        self._pause(1.7 * self._company.lease)
        host.cable(plugged=True)

    def _stop(self) -> None:
        """Have somebody stand still, for a moment or for longer than the lease."""
        all_there = [self._head, *self._nodes.values(), self.program or self._head]
        member = self._random.choice(all_there)
        member.signal(signal.SIGSTOP)
        self._pause(1.5 * self._company.lease)
        member.signal(signal.SIGCONT)

    def _pause(self, most: float) -> None:
        time.sleep(self._random.uniform(0, most))  # what lasts is part of the chaos


def workers_of(node: int) -> list[int]:
    """Return a node's workers: what its children have started, which start others."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    return [worker for starter in children.get(node, ()) for worker in children.get(starter, ())]


def run(asked: argparse.Namespace, company: Company) -> bool:
    """Have it all happen, and report; return whether all was well."""
    seed = random.getrandbits(32) if asked.seed is None else asked.seed
    attacker = Attacker(company, seed)
    company.await_nodes(*NODES)
    client = company.client("chaos", tasks=asked.tasks, seconds=asked.minutes * 60)
    attacker.program = client
    begin, over = time.monotonic(), threading.Event()
    told: list[str] = []

    def listen() -> None:
        patience = asked.minutes * 60 + 3600
        told.append(client.line(patience))  # it has submitted all
        over.set()
        told.append(client.line(LAST))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    while not over.wait(random.uniform(0, 2 * asked.interval)) and listener.is_alive():
        attacker.attack()
    listener.join()
    say(f"chaos: {', '.join(f'{n} x {what}' for what, n in attacker.counts.most_common())}")
    say(f"  seed {seed}, {time.monotonic() - begin:.0f} s")
    if len(told) < 2:
        say(f"  VIOLATION: the program hangs or has failed; see {company.folder}")
        return False
    report = json.loads(told[1])
    say(f"  {report['tasks']} tasks, {report['retries']} retries")
    for fault in report["faults"][:20]:
        say(f"  VIOLATION: {fault}")
    say(f"  {len(report['faults'])} violations" if report["faults"] else "  no violation")
    return not report["faults"]


def say(line: str) -> None:
    """Write a line of the report."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Make the hosts; return how it ended."""
    from cluster.company import Company
    from cluster.hosts import Net, why_not

    asked, reason = parsed(), why_not()
    if reason is not None:
        say(f"chaos: skipped, for {reason}")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    with Net(["head", *NODES, "client"]) as net:
        company = Company(net, folder, asked.lease)
        try:
            good = run(asked, company)
        finally:
            company.close()
    say(f"  logs in {folder}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
