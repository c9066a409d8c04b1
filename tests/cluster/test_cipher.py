"""A head finds out how fast it encrypts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zmq

from polyexec_zmq import _ciphertest

if TYPE_CHECKING:
    import pytest


def test_the_rate_of_encryption_is_measured() -> None:
    assert _ciphertest.encrypted_rate() > 1e6


def test_where_nothing_is_encrypted_the_rate_is_nought(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise zmq.ZMQError(zmq.ENOTSUP)

    monkeypatch.setattr(zmq, "curve_keypair", fails)
    assert _ciphertest.encrypted_rate() == 0.0
