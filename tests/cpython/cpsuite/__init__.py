"""CPython's own tests, re-bound to the context that a provider hands out.

Importable in the test process and in every process that unpickles a test function, so its folder
is on ``sys.path`` there. What is under test comes from the generated module ``_cpsuite_config``,
which travels with ``sys.path`` in a spawned child's preparation data, or else from the environment.
"""

from __future__ import annotations

import functools
import importlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from cpsuite.providers import Provider

STDLIB_METHODS = ("fork", "spawn", "forkserver")


class Settings(NamedTuple):
    """What is under test: a provider as ``module:function``, and the name it is called with."""

    provider: str
    context: str


@functools.cache
def settings() -> Settings:
    """Return what this run tests."""
    try:
        config = importlib.import_module("_cpsuite_config")
    except ImportError:
        return Settings(os.environ["CPSUITE_PROVIDER"], os.environ["CPSUITE_CONTEXT"])
    return Settings(config.PROVIDER, config.CONTEXT)


def context_name() -> str:
    """Return the name of the context under test."""
    return settings().context


@functools.cache
def provider() -> Provider:
    """Return the provider function under test."""
    module, _, function = settings().provider.partition(":")
    return cast("Provider", getattr(importlib.import_module(module), function))


@functools.cache
def get_ctx() -> Any:
    """Return the provider's context object, one per process."""
    return provider()(context_name())


def is_partial() -> bool:
    """Tell whether the provider says that its context lacks most of the context API."""
    return context_name() in getattr(provider(), "partial", ())
