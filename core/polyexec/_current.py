"""Which executor's task or callback the current thread is running."""

from __future__ import annotations

import threading

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from polyexec._feeder import Feeder
    from polyexec.executor import Executor
    from polyexec.serialization.arrivals import Message
    from polyexec.serialization.destinations import Destination
    from polyexec.serialization.uses import Uses
    from polyexec.serialization.views import Brought
    from polyexec.sharing import Shared


class Collection:
    """What is noted apart as something is pickled."""

    __slots__ = ("definitions", "needs", "uses")

    def __init__(
        self,
        uses: Uses | None = None,
        needs: list[Any] | None = None,
        definitions: dict[str, Any] | None = None,
    ) -> None:
        #: The globals that functions look up, if somebody asks.
        self.uses = uses
        #: The classes that are needed for it, if they are not to go with it.
        self.needs = needs
        #: Their definitions, if they go apart; None for one that need not be sent.
        self.definitions = definitions


class _Here(threading.local):
    executor: Executor | None = None
    #: Whether the thread must not wait for room: it drops something, or shuts down.
    overdraws: bool = False
    #: The map whose inputs the thread submits.
    feeding: Feeder | None = None
    #: How handles on shared objects are pickled.
    refer: Callable[[Shared[Any]], tuple[Any, ...] | None] | None = None
    #: Where what is pickled goes, None if nothing is known of that.
    destination: Destination | None = None
    #: What is noted of what is pickled.
    collection: Collection = Collection()
    #: Of what packs others as it is pickled, by identity, to what it was reduced before in the same
    #: pickle, of which the second attempt is to take no longer than need be.
    reduced: dict[int, tuple[Any, ...]] | None = None
    #: Whether what is being unpickled came from the process that started this one.
    reading: bool = False
    #: The definitions of classes that came with what is being unpickled.
    message: Message | None = None
    #: What functions and classes that are being unpickled bring, if somebody asks.
    brought: Brought | None = None


here = _Here()
