"""Tuples with named fields, without `typing`."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from core.fakes import python
from polyexec.namedtuple import NamedTuple


class Place(NamedTuple):
    """Where something is."""

    name: str
    number: int = 3
    more: tuple[int, ...] = ()

    def shout(self) -> str:
        """Return its name, and loud."""
        return self.name.upper()


def test_fields_have_names_places_and_defaults() -> None:
    place = Place("here", more=(1, 2))
    assert (place.name, place.number, place.more) == ("here", 3, (1, 2))
    assert tuple(place) == ("here", 3, (1, 2))
    assert place._replace(number=4) == Place("here", 4, (1, 2))
    assert place.shout() == "HERE"
    assert repr(place) == "Place(name='here', number=3, more=(1, 2))"
    assert Place.__doc__ == "Where something is."


def test_it_is_pickled_by_its_name() -> None:
    copy = pickle.loads(pickle.dumps(Place("there")))
    assert type(copy) is Place
    assert copy == Place("there")


def test_what_has_no_default_must_be_given_and_nothing_else_may_be_set() -> None:
    made: Any = Place
    with pytest.raises(TypeError, match="name"):
        made()
    place: Any = Place("here")
    with pytest.raises(AttributeError):
        place.other = 1


def test_typing_is_not_loaded_for_it() -> None:
    code = "import sys, polyexec.namedtuple; print('typing' in sys.modules)"
    assert python(code).stdout == "False\n"
