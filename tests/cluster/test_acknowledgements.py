"""What a program says of nodes' letters that have come."""

from __future__ import annotations

from typing import Any

import pytest

from polyexec_zmq import _shipping
from polyexec_zmq import _wire as wire
from polyexec_zmq._past import Past
from polyexec_zmq._shipping import Acknowledgements

NODE, EXECUTOR = 7, 1


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return where the numbers go that nodes are told, at once."""
    monkeypatch.setattr(_shipping, "_ACKNOWLEDGE", 1)
    return []


def _come(acknowledgements: Acknowledgements, told: list[int], *letters: int) -> None:
    def send(letter: list[Any]) -> None:
        assert wire.HEAD.unpack(letter[0]) == (wire.ACK, NODE, EXECUTOR)
        told.extend(wire.NUMBER.unpack(letter[1]))

    for number in letters:
        acknowledgements.note(NODE, number)
        acknowledgements.flush(EXECUTOR, send)


def test_letters_are_acknowledged_in_order(told: list[int]) -> None:
    _come(Acknowledgements(), told, 1, 2, 3)
    assert told == [1, 2, 3]


def test_one_before_which_another_is_missing_is_not_until_that_has_come(told: list[int]) -> None:
    acknowledgements = Acknowledgements()
    _come(acknowledgements, told, 1, 3, 4)
    assert told == [1]
    _come(acknowledgements, told, 2, 3, 4, 5)
    assert told == [1, 2, 3, 4, 5]


def test_one_that_comes_again_is_acknowledged_again(told: list[int]) -> None:
    acknowledgements = Acknowledgements()
    _come(acknowledgements, told, 1, 2, 1)
    assert told == [1, 2, 2]
    acknowledgements.forget(NODE)
    _come(acknowledgements, told, 1)
    assert told == [1, 2, 2, 1]


def test_what_never_came_of_a_lost_node_is_lost(told: list[int]) -> None:
    acknowledgements, past = Acknowledgements(), Past()
    past.answered(NODE, 1, [10], telling=False)  # as the program's connection was cut
    past.begin_telling()
    past.answered(NODE, 2, [11], telling=True)
    _come(acknowledgements, told, 2)
    for number in told:
        past.acknowledged(NODE, number)
    assert 10 in past.lost(NODE, [], {"why": "its node was lost"})
