"""The parts of `polyexec map` that need no process."""

from __future__ import annotations

import time

from polyexec.cli._chunk import Job, Outcome
from polyexec.cli._input import split_lines
from polyexec.cli._messages import shortened_repr
from polyexec.cli._sizing import LARGEST, ChunkSizer
from polyexec.cli._window import MOST_HELD_ITEMS, Window


def outcomes(number: int) -> list[Outcome]:
    return [Outcome("line")] * number


def handed_out(window: Window) -> list[str]:
    return [item for items, _ in window.finished() for item in items]


def test_an_ordered_window_holds_back_what_overtook() -> None:
    window = Window(workers=1)
    first, second = window.admit(["a"]), window.admit(["b"])
    window.finish(second, outcomes(1))
    assert handed_out(window) == []
    window.finish(first, outcomes(1))
    assert handed_out(window) == ["a", "b"]
    assert window.is_empty


def test_an_unordered_window_hands_out_what_is_finished() -> None:
    window = Window(workers=1, ordered=False)
    window.admit(["a"])
    window.finish(window.admit(["b"]), outcomes(1))
    assert handed_out(window) == ["b"]
    assert not window.is_empty


def test_the_rest_of_a_chunk_keeps_its_place() -> None:
    window = Window(workers=1)
    first, second = window.admit(["a", "b", "c"]), window.admit(["d"])
    window.finish(second, outcomes(1))
    window.finish(first, outcomes(1))
    for expected in ("b", "c"):
        rest = window.resume(1)
        assert rest
        assert rest.items == [expected]
        window.finish(rest, outcomes(1))
    assert handed_out(window) == ["a", "b", "c", "d"]
    assert window.is_empty


def test_a_window_is_full_when_too_much_is_held_back() -> None:
    window = Window(workers=1)
    first = window.admit(["a"])
    window.finish(window.admit(["b"] * MOST_HELD_ITEMS), outcomes(MOST_HELD_ITEMS))
    assert not window.has_room
    window.finish(first, outcomes(1))
    assert len(handed_out(window)) == MOST_HELD_ITEMS + 1
    assert window.has_room


def test_a_full_window_still_resumes_what_the_others_are_held_behind() -> None:
    window = Window(workers=1)
    first = window.admit(["a", "b"])
    window.finish(window.admit(["c"] * MOST_HELD_ITEMS), outcomes(MOST_HELD_ITEMS))
    window.finish(first, outcomes(1))
    assert handed_out(window) == ["a"]
    assert not window.has_room
    assert window.resume(1)


def test_a_window_runs_a_bounded_number_of_chunks() -> None:
    window = Window(workers=10)
    while window.has_room:
        window.admit(["a"])
    assert handed_out(window) == []
    assert not window.is_empty


def test_chunks_grow_while_items_are_tiny() -> None:
    sizer = ChunkSizer()
    for _ in range(20):
        sizer.measured(sizer.size, sizer.size * 1e-6)
    assert sizer.size == LARGEST


def test_chunks_do_not_grow_when_items_take_their_time() -> None:
    sizer = ChunkSizer()
    for _ in range(20):
        sizer.measured(sizer.size, sizer.size * 0.01)
    assert sizer.size == 1


def test_a_chunk_that_was_cut_short_makes_the_next_ones_small() -> None:
    sizer = ChunkSizer()
    for _ in range(20):
        sizer.measured(sizer.size, sizer.size * 1e-6)
    sizer.measured(2, 1.0, cut=True)
    assert sizer.size == 1


def test_a_lost_chunk_is_the_last_one_of_several_items() -> None:
    sizer = ChunkSizer()
    sizer.measured(1, 1e-6)
    sizer.lost()
    sizer.measured(1, 1e-6)
    assert sizer.size == 1


def test_a_fixed_chunksize_stays() -> None:
    sizer = ChunkSizer(7)
    sizer.measured(7, 7.0)
    sizer.lost()
    assert sizer.size == 7


def test_a_chunk_out_of_time_returns_what_it_has() -> None:
    job = Job(lambda item: time.sleep(float(item)), budget=0.01)
    assert len(job.run(["0", "0.02", "0"]).outcomes) == 2


def test_lines_are_put_together_from_blocks() -> None:
    blocks = [b"one", b" line\r", b"\ntwo\n", b"\nend"]
    lines = [line for block in split_lines(blocks) for line in block]
    assert lines == ["one line", "two", "", "end"]


def test_a_long_item_is_cut_in_its_middle() -> None:
    text = shortened_repr("a" * 500 + "z" * 500)
    assert text.startswith("'aaa")
    assert text.endswith("zzz'")
    assert len(text) < 300
