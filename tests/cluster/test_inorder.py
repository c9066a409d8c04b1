"""How a program counts the log records that come from nodes."""

from __future__ import annotations

import logging
import pickle
import threading
from typing import TYPE_CHECKING

from polyexec_zmq._inorder import InOrder
from polyexec_zmq._logflow import SOME

if TYPE_CHECKING:
    from collections.abc import Callable

NODE = 5
PATIENCE = 30.0


RECORD = pickle.dumps(logging.makeLogRecord({"name": "quiet", "msg": "said"}))


def _counted(in_order: InOrder, number: int, woken: threading.Event) -> list[tuple[int, int]]:
    """Have a record of that number handled, and return what nodes are to hear."""
    woken.clear()
    in_order.handle(NODE, number, RECORD)
    assert woken.wait(PATIENCE)
    return in_order.news()


def _made() -> tuple[InOrder, threading.Event]:
    logging.getLogger("quiet").disabled = True
    woken = threading.Event()
    wake: Callable[[], None] = woken.set
    return InOrder(wake), woken


def test_a_node_hears_up_to_where_its_records_are_handled() -> None:
    in_order, woken = _made()
    assert _counted(in_order, 2 * SOME, woken) == [(NODE, 2 * SOME)]
    assert in_order.news() == []


def test_a_node_that_counts_anew_hears_again() -> None:
    in_order, woken = _made()
    _counted(in_order, 100 * SOME, woken)
    in_order.forget(NODE)
    assert _counted(in_order, SOME, woken) == [(NODE, SOME)]
    in_order.forget_all()
    assert _counted(in_order, 3 * SOME, woken) == [(NODE, 3 * SOME)]


def test_a_record_of_before_does_not_count_for_what_begins_anew() -> None:
    in_order, woken = _made()
    held = threading.Event()
    in_order.put(lambda: held.wait(PATIENCE))
    in_order.handle(NODE, 100 * SOME, RECORD)
    in_order.forget(NODE)
    held.set()
    in_order.join()
    assert in_order.news() == []
    assert _counted(in_order, SOME, woken) == [(NODE, SOME)]
