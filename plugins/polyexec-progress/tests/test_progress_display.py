"""What the lines show."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

import polyexec
from polyexec_progress._display import Display, terminal_progress
from polyexec_progress._plugin import ProgressPlugin


class Screen:
    """A terminal in memory, and a display on it."""

    def __init__(self) -> None:
        self.console = Console(file=io.StringIO(), force_terminal=True, width=100)
        self.progress = terminal_progress(self.console)
        self.display = Display(lambda: self.progress)

    def rendered(self) -> str:
        with self.console.capture() as captured:
            self.console.print(self.progress.get_renderable())
        return captured.get()


@pytest.fixture
def screen() -> Screen:
    return Screen()


def test_a_line_has_the_name_of_the_context(screen: Screen) -> None:
    screen.display.add(1, "thread")
    assert "thread" in screen.rendered()
    screen.display.remove(1)


def test_a_line_counts_what_ended_of_what_was_submitted(screen: Screen) -> None:
    screen.display.add(1, "thread")
    for _ in range(3):
        screen.display.submitted(1)
    screen.display.finished(1, failed=False)
    assert "1/3" in screen.rendered()
    screen.display.remove(1)


def test_failures_are_counted(screen: Screen) -> None:
    screen.display.add(1, "thread")
    screen.display.submitted(1)
    screen.display.finished(1, failed=True)
    assert "1 failed" in screen.rendered()
    screen.display.remove(1)


def test_executors_are_counted_apart(screen: Screen) -> None:
    screen.display.add(1, "one")
    screen.display.add(2, "two")
    screen.display.submitted(2)
    assert ("0/0" in screen.rendered(), "0/1" in screen.rendered()) == (True, True)
    screen.display.remove(1)
    screen.display.remove(2)


def test_the_display_ends_with_its_last_line(screen: Screen) -> None:
    screen.display.add(1, "one")
    screen.display.add(2, "two")
    screen.display.remove(1)
    assert screen.progress.live.is_started
    screen.display.remove(2)
    assert not screen.progress.live.is_started


def test_what_belongs_to_no_line_is_ignored(screen: Screen) -> None:
    screen.display.submitted(1)
    screen.display.finished(1, failed=False)
    screen.display.remove(1)
    assert "/" not in screen.rendered()


def test_a_cancelled_task_counts_as_failed(screen: Screen) -> None:
    plugin = ProgressPlugin(screen.display)
    executor = polyexec.get_context("thread").Executor(1)
    plugin.polyexec_executor_started(executor)
    future: polyexec.Future[int] = polyexec.Future()
    future.cancel()
    plugin.polyexec_task_finished(executor, future)
    assert "1 failed" in screen.rendered()
    plugin.polyexec_executor_stopped(executor)


def test_a_forked_child_shows_nothing(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = ProgressPlugin(screen.display)
    monkeypatch.setattr("os.getpid", lambda: -1)
    plugin.polyexec_executor_started(polyexec.get_context("thread").Executor(1))
    assert not screen.progress.live.is_started
