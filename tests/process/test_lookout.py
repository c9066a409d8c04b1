"""The wait for a job, or for an answer: eager where that pays, and seldom else."""

from __future__ import annotations

import os
import select
import sys
import time
from typing import Any

import pytest

if sys.platform != "win32":
    from polyexec_process import _lookout

TICK = 10e-6


class Pipe:
    """Stands for a clock, and for a pipe into which comes something after *seconds* each time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = self.comes = 0.0
        self.looks = 0

    def clock(self) -> float:
        self.now += TICK
        return self.now

    def poll(self, timeout: int | None = None) -> list[Any]:
        if timeout is None:
            self.now = max(self.now, self.comes)
            return [0]
        self.looks += 1
        return [0] if self.now >= self.comes else []

    def wait_often(self, lookout: Any, count: int) -> int:
        """Return how many looks were taken in so many waits."""
        before = self.looks
        for _ in range(count):
            self.comes = self.now + self.seconds
            assert lookout.wait() == [0]
        return self.looks - before


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    pipe = Pipe(0.0)
    monkeypatch.setattr(time, "perf_counter", pipe.clock)
    return pipe


@pytest.fixture
def cpus() -> int:
    """Return on how many CPUs a worker may run."""
    return 2


@pytest.fixture
def lookout(pipe: Pipe, cpus: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a lookout for *pipe*."""
    monkeypatch.setattr(_lookout, "allowed_cpus", lambda: cpus)
    return _lookout.Lookout(pipe.poll)


def test_it_looks_out_where_one_comes_after_another(pipe: Pipe, lookout: Any) -> None:
    pipe.seconds = 50e-6
    assert pipe.wait_often(lookout, 100) >= 99


def test_it_does_not_where_they_are_seldom(pipe: Pipe, lookout: Any) -> None:
    pipe.seconds = 1e-3
    assert pipe.wait_often(lookout, 100) == 0


def test_in_vain_it_looks_ever_more_seldom_and_again_once_it_pays(pipe: Pipe, lookout: Any) -> None:
    pipe.seconds = 300e-6  # short, but longer than it looks
    assert pipe.wait_often(lookout, 10_000) < 5_000
    pipe.seconds = 50e-6
    pipe.wait_often(lookout, 2_000)
    assert pipe.wait_often(lookout, 100) >= 100


@pytest.mark.parametrize("cpus", [1])
def test_with_one_processor_it_sleeps(pipe: Pipe, lookout: Any) -> None:
    pipe.seconds = 50e-6
    assert pipe.wait_often(lookout, 100) == 0


def test_it_ends_when_something_comes_or_the_other_end_is_closed() -> None:
    reading, writing = os.pipe()
    poller = select.poll()
    poller.register(reading, select.POLLIN)
    lookout = _lookout.Lookout(poller.poll)
    os.write(writing, b"x")
    assert lookout.wait()
    os.read(reading, 1)
    os.close(writing)
    assert lookout.wait()
    os.close(reading)
