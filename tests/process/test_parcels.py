"""Parcels from one end of a socket to the other, in one process."""

from __future__ import annotations

import gc
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from polyexec_process import _holdings, _parcels, _segments
from polyexec_process._parcels import READONLY, WORTH_MAPPING, Inbox, Parcel
from polyexec_process._segments import MOST_SEGMENTS, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL, LARGE = 100_000, WORTH_MAPPING


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Inbox]]:
    """Return where parcels are sent, and where they arrive."""
    here, there = socket.socketpair()
    with here, there:
        inbox = Inbox(there)
        yield here, inbox
        inbox.close()


def packed(store: Store, size: int) -> Parcel:
    return Parcel(store, [memoryview(b"pickle"), memoryview(bytearray(b"x" * size))])


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_pieces_arrive_as_they_are(ends: tuple[socket.socket, Inbox], size: int) -> None:
    rights, inbox = ends
    pickled, buffer = inbox.open(memoryview(packed(Store(), size).send(rights)))
    assert (bytes(pickled), bytes(buffer)) == (b"pickle", b"x" * size)
    assert (pickled.readonly, buffer.readonly) == (True, False)


def test_what_is_being_read_is_not_free(
    ends: tuple[socket.socket, Inbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    rights, inbox = ends
    read, free = _parcels._read, []

    def reading(*place: Any) -> memoryview:
        free.extend(inbox.free()[0])  # as another thread may ask just then
        return read(*place)

    monkeypatch.setattr(_parcels, "_read", reading)
    inbox.open(memoryview(packed(Store(), SMALL).send(rights)))
    assert free == []
    assert len(inbox.free()[0]) == 1


def test_what_is_mapped_is_free_once_nothing_uses_it(ends: tuple[socket.socket, Inbox]) -> None:
    rights, inbox = ends
    described = memoryview(packed(Store(), LARGE).send(rights))
    pieces = inbox.open(described)
    assert inbox.in_use(described)
    assert inbox.free() == ([], [])
    del pieces
    assert not inbox.in_use(described)
    free, inherited = inbox.free()
    assert (len(free), inherited) == (1, [])


def test_what_a_forked_child_may_use_is_not_used_again(ends: tuple[socket.socket, Inbox]) -> None:
    rights, inbox = ends
    described = memoryview(packed(Store(), LARGE).send(rights))
    pieces = inbox.open(described)
    inbox.note_fork()
    assert inbox.in_use(described)
    del pieces
    assert inbox.in_use(described)
    free, inherited = inbox.free()
    assert (free, len(inherited)) == ([], 1)
    assert inbox.free() == ([], [])


def test_a_parcel_that_was_sent_twice_can_be_skipped_once(
    ends: tuple[socket.socket, Inbox],
) -> None:
    rights, inbox = ends
    parcel = packed(Store(), SMALL)
    first, second = (memoryview(parcel.send(rights)) for _ in range(2))
    assert bytes(inbox.open(second)[1]) == b"x" * SMALL
    inbox.skip(first)


def test_a_store_that_has_no_more_segments_lets_parcels_go_without(
    ends: tuple[socket.socket, Inbox],
) -> None:
    rights, inbox = ends
    store = Store()
    parcels = [packed(store, SMALL) for _ in range(MOST_SEGMENTS + 2)]
    assert store.crowded
    described = [memoryview(parcel.send(rights)) for parcel in parcels]
    assert [len(each) > SMALL for each in described] == [False] * MOST_SEGMENTS + [True] * 2
    assert all(bytes(inbox.open(each)[1]) == b"x" * SMALL for each in described)


def test_what_comes_while_a_child_is_forked_is_not_used_again(
    ends: tuple[socket.socket, Inbox],
) -> None:
    rights, inbox = ends
    parcels = [packed(Store(), LARGE) for _ in range(2)]
    _parcels._before_fork()
    pieces = inbox.open(memoryview(parcels[0].send(rights)))
    _parcels._forking.pop()
    more = inbox.open(memoryview(parcels[1].send(rights)))
    del pieces, more
    free, inherited = inbox.free()
    assert (len(free), len(inherited)) == (1, 1)


def test_what_a_receiver_that_died_may_have_left_to_a_child_is_not_used_again(
    ends: tuple[socket.socket, Inbox],
) -> None:
    rights, _ = ends
    store = Store()
    parcel = packed(store, SMALL)
    for _ in range(2):
        parcel.send(rights)
    parcel.note_use(kept=False)
    parcel.settle()
    again = store.take(SMALL)
    assert again is not None
    assert bytes(again.view[:6]) != b"pickle"
    store.drop(again)


def test_a_read_only_parcel_is_read_only_without_a_segment(
    ends: tuple[socket.socket, Inbox],
) -> None:
    rights, inbox = ends
    pieces = [memoryview(b"pickle"), memoryview(bytearray(b"x" * SMALL))]
    described = memoryview(Parcel(Store(0), pieces, READONLY).send(rights))
    assert [piece.readonly for piece in inbox.open(described)] == [True, True]


def test_a_segment_that_can_not_be_had_leaves_no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> int:
        raise OSError

    noise: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", noise.append)
    monkeypatch.setattr(_segments, "memory", refuse)
    assert Store().take(SMALL) is None
    gc.collect()
    assert noise == []


def test_what_no_descriptor_came_for_is_given_back(ends: tuple[socket.socket, Inbox]) -> None:
    rights, inbox = ends
    described = memoryview(packed(Store(), SMALL).send(rights))
    inbox.give_up(described)
    free, _ = inbox.free()
    assert len(free) == 1


def test_a_shared_object_that_can_not_be_mapped_fails_who_uses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> list[memoryview]:
        raise OSError("too many")

    here, there = socket.socketpair()
    with here, there:
        monkeypatch.setattr(_holdings, "_held", [])
        holdings = _holdings.Holdings(there)
        monkeypatch.setattr(Inbox, "open", refuse)
        holdings.hold(1, memoryview(b""))
        for _ in range(2):
            with pytest.raises(OSError, match="too many"):
                holdings.entry(1).value()


def test_what_nobody_has_used_is_not_used_again(ends: tuple[socket.socket, Inbox]) -> None:
    rights, _ = ends
    store = Store()
    for used in (False, True):
        parcel = packed(store, SMALL)
        parcel.send(rights)
        if used:
            parcel.note_use(kept=False)
        parcel.settle()
        again = store.take(SMALL)
        assert again is not None
        assert (bytes(again.view[:6]) == b"pickle") is used
        store.drop(again)
