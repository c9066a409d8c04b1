"""How much is done per second."""

from __future__ import annotations

from polyexec_zmq._rate import Rate


def test_a_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    assert rate.per_second == 0
    for second in range(20):
        rate.note(float(second), 10 * second)
    assert rate.per_second == 10
    for second in range(20, 40):
        rate.note(float(second), 200)
    assert rate.per_second == 0


def test_looking_often_changes_nothing() -> None:
    rate = Rate()
    for step in range(1000):
        rate.note(step / 100, step)
    assert rate.per_second == 100
