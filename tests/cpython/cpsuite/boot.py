"""Imported first by the ``python -c`` scripts that some tests run in a fresh interpreter.

Publishes there ``concurrent.futures.ProviderExecutor`` and the suite's helper modules.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from typing import Any

from cpsuite import STDLIB_METHODS, context_name, fut_src, get_ctx
from cpsuite.futures_facade import executor_factory

get_ctx()  # before anything is patched: the provider imports what it needs
setattr(concurrent.futures, "ProviderExecutor", executor_factory)  # noqa: B010 - new to checkers
fut_src._alias_as_test_module()

if context_name() not in STDLIB_METHODS:
    _real_get_context = multiprocessing.get_context

    def _get_context(method: str | None = None) -> Any:
        return get_ctx() if method == context_name() else _real_get_context(method)

    setattr(multiprocessing, "get_context", _get_context)  # noqa: B010 - of another type
