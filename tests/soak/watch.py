"""Looks at what this process holds, while tasks flow and afterwards."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

from process.programs import marked

#: By how many MiB, and how many descriptors, this process may grow while tasks flow.
MOST_GROWTH = 64
MOST_DESCRIPTORS = 64
#: How many MiB all workers may hold on top of what they held at first.
MOST_TREE_GROWTH = 512


class Sample(NamedTuple):
    """What is held at one time, in MiB where it is memory.

    *own* counts pages whole that are shared with a child: that is a matter of when it was forked.
    """

    own: int
    tree: int
    descriptors: int


def sample(mark: str) -> Sample:
    """Look now."""
    pids = marked(mark)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return Sample(
        _memory(os.getpid(), "Rss"), sum(_memory(pid, "Pss") for pid in pids), descriptors
    )


def _memory(pid: int, kind: str) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
        return int(text.partition(f"{kind}:")[2].split()[0]) >> 10
    except (OSError, IndexError):  # it has ended
        return 0


class Watch(threading.Thread):
    """Takes a sample every second until *stop* is set."""

    def __init__(self, mark: str, stop: threading.Event) -> None:
        super().__init__()
        self._mark = mark
        self._stop_event = stop
        self.samples: list[Sample] = []

    def run(self) -> None:
        """Look again and again."""
        while not self._stop_event.wait(1):
            self.samples.append(sample(self._mark))

    def faults(self) -> list[str]:
        """Return what was more in the last third than in the one before."""
        third = len(self.samples) // 3
        if third == 0:
            return ["too short to tell whether memory grows"]
        before, after = self.samples[third : 2 * third], self.samples[-third:]
        allowed = Sample(MOST_GROWTH, MOST_TREE_GROWTH, MOST_DESCRIPTORS)
        return [
            f"{name} rose from {was} to {now}"
            for name, was, now, most in zip(
                Sample._fields, _median(before), _median(after), allowed, strict=True
            )
            if now > was + most
        ]

    def peaks(self) -> str:
        """Return the most of each."""
        if not self.samples:
            return "nothing was seen"
        own, tree, descriptors = map(max, zip(*self.samples, strict=True))
        return f"at most {own} MiB here, {tree} MiB with workers, {descriptors} descriptors"


def _median(samples: list[Sample]) -> Sample:
    return Sample(*(sorted(column)[len(column) // 2] for column in zip(*samples, strict=True)))


class Belongings(NamedTuple):
    """What must be as it was, when all is over."""

    descriptors: list[str]
    threads: list[str]
    files: list[str]


def belongings() -> Belongings:
    """Look now."""
    gc.collect()
    return Belongings(
        sorted(_targets()),
        sorted(thread.name for thread in threading.enumerate()),
        sorted(os.listdir("/dev/shm")),  # noqa: PTH208 - looked into, not written to
    )


def _targets() -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):  # noqa: PTH208 - shorter
        try:
            found.append(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")  # noqa: PTH115 - shorter
        except OSError:  # the one that this folder was listed with
            continue
    return found


def left_behind(before: Belongings, patience: float) -> list[str]:
    """Return what there is that was not there *before*, once it had time to go."""
    deadline = time.monotonic() + patience
    while (now := belongings()) != before and time.monotonic() < deadline:
        time.sleep(0.1)  # nothing tells of the end of threads
    return [
        f"{name} left behind: {sorted(set(is_) - set(was))}"
        for name, was, is_ in zip(Belongings._fields, before, now, strict=True)
        if set(is_) - set(was)
    ]
