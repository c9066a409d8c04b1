"""Finds backends by name, and imports only the one asked for.

pluggy's own loader takes the first of two claimants silently, imports a whole group at once, and
stops at the first that fails. So entry points are chosen here, one by one, and then registered.
"""

from __future__ import annotations

import os
import re
import threading
import warnings
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, cast

import pluggy

from polyexec import hookspecs
from polyexec._markers import PROJECT
from polyexec._observers import tell
from polyexec.arguments import near_miss
from polyexec.context import Context
from polyexec.errors import (
    BackendLoadError,
    BackendNotFoundError,
    DuplicateBackendError,
    IncompatibleBackendError,
    PolyexecWarning,
)
from polyexec.namedtuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BACKENDS = "polyexec.backends"
PLUGINS = "polyexec.plugins"
BLOCK = "POLYEXEC_BLOCK"


class BackendInfo(NamedTuple):
    """What a distribution's metadata says of a context that it offers."""

    name: str
    distribution: str
    version: str
    blocked: bool


class Registry:
    """The backends and observers of the running interpreter.

    A backend is imported when it is first asked for. Observers are imported together, when the
    first context is made, and a bad one is a warning.
    """

    def __init__(self) -> None:
        names = os.environ.get(BLOCK, "").split(",")
        self._blocked = frozenset(_normalized(name) for name in names if name.strip())
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._backends: dict[str, object] = {}
        self._observers_loaded = False
        #: What was found as the observers were looked for, until a backend is.
        self._found: Any = None
        self._lock = threading.RLock()

    @property
    def hook(self) -> pluggy.HookRelay:
        """The hooks of all observers."""
        self._load_observers()
        return self._manager.hook

    def backends(self) -> list[BackendInfo]:
        """Return what is installed, sorted, blocked and doubly claimed ones too; imports none."""
        found = [
            BackendInfo(source.name, *_origin(source), blocked=self._is_blocked(source))
            for source in entry_points(group=BACKENDS)
        ]
        return sorted(found, key=lambda info: (info.name, info.distribution))

    def available(self) -> dict[str, str]:
        """Map each usable name to the distribution and version that offers it; imports none."""
        return {
            info.name: f"{info.distribution} {info.version}"
            for info in self.backends()
            if not info.blocked
        }

    def having(self, capability: str, besides: str) -> list[str]:
        """Return the names of the usable contexts, *besides* one, that have a capability."""
        return [
            name for name in self.available() if name != besides and capability in self._can(name)
        ]

    def _can(self, name: str) -> frozenset[str]:
        try:
            with self._make_context(name, {}) as context:
                return context.capabilities
        except Exception:  # noqa: BLE001 - a broken backend can do nothing
            return frozenset()

    def create_context(self, name: str, options: Mapping[str, Any]) -> Context:
        """Return a new context of the backend called *name*, and tell the observers."""
        context = self._make_context(name, options)
        tell(self._manager.hook.polyexec_context_created, name=name, context=context)
        return context

    def _make_context(self, name: str, options: Mapping[str, Any]) -> Context:
        if not isinstance(name, str):
            raise TypeError(f"a context is chosen by its name, a string, not {name!r}")
        with self._lock:
            self._load_observers()
            backend = self._backends.get(name) or self._load_backend(name)
            others = self._manager.get_plugins() - {backend}
        create = self._manager.subset_hook_caller("polyexec_create_context", others)
        try:
            context = create(name=name, options=options)
        except ImportError as error:
            raise BackendLoadError(f"{self._owner(name)} failed to import: {error}") from error
        if not isinstance(context, Context):
            raise BackendLoadError(
                f"{self._owner(name)} made {context!r}, which is not a polyexec.Context"
            )
        return context

    def _owner(self, name: str) -> str:
        return f"backend {name!r} of {self.available().get(name, '?')}"

    def cli_commands(self) -> list[Any]:
        """Return the commands that plugins add to the command line."""
        commands: list[Any] = []
        for plugin in self.hook.polyexec_cli_commands.get_hookimpls():
            try:
                commands.extend(cast("Iterable[Any]", plugin.function()))
            except Exception as error:  # noqa: BLE001 - a plugin's code
                warnings.warn(
                    f"the commands of plugin {plugin.plugin_name!r} are ignored: {error}",
                    PolyexecWarning,
                    stacklevel=2,
                )
        return commands

    def _load_backend(self, name: str) -> object:
        source = self._one_entry_point(name)
        try:
            backend = source.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # loading a plugin, whatever it does
            raise BackendLoadError(f"{_label(source)} failed to import: {error}") from error
        spoken = getattr(backend, "POLYEXEC_API", hookspecs.API_VERSION)
        if spoken != hookspecs.API_VERSION:
            raise IncompatibleBackendError(
                f"{_label(source)} speaks plugin API {spoken}, this polyexec speaks "
                f"{hookspecs.API_VERSION}; install versions of both that agree"
            )
        self._register(backend, name, source)
        if not any(
            caller.name == "polyexec_create_context"
            for caller in self._manager.get_hookcallers(backend) or ()
        ):
            self._manager.unregister(name=name)
            raise BackendLoadError(
                f"{_label(source)} has no polyexec_create_context; mark it with polyexec.hookimpl"
            )
        self._backends[name] = backend
        return backend

    def _register(self, backend: object, name: str, source: EntryPoint) -> None:
        if self._manager.is_registered(backend):
            return  # it serves another name, or observes, as well
        try:
            self._manager.register(backend, name)
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._manager.get_plugin(name) is not None:
                self._manager.unregister(name=name)  # pluggy keeps what failed half-way
            reason = " ".join(str(error).split())
            raise IncompatibleBackendError(f"{_label(source)} does not fit: {reason}") from error

    def _one_entry_point(self, name: str) -> EntryPoint:
        found, self._found = self._found, None
        claims: list[EntryPoint] = []
        if found is not None:
            claims += found.select(group=BACKENDS, name=name)
        if not claims:
            claims += entry_points(group=BACKENDS, name=name)
        usable = [source for source in claims if not self._is_blocked(source)]
        if len(usable) == 1:
            return usable[0]
        installed = ", ".join(self.available()) or "none"
        if claims and not usable:
            raise BackendNotFoundError(
                f"{_label(claims[0])} is blocked by {BLOCK}={os.environ.get(BLOCK, '')}; "
                f"usable: {installed}"
            )
        if not claims:
            raise BackendNotFoundError(
                f"no context is called {name!r}{near_miss(name, self.available())}; "
                f"installed: {installed}"
            )
        owners = " and ".join(sorted(" ".join(_origin(source)) for source in usable))
        raise DuplicateBackendError(
            f"context {name!r} is offered by {owners}; uninstall one, or name it in {BLOCK}"
        )

    def _load_observers(self) -> None:
        with self._lock:
            if self._observers_loaded:
                return
            self._observers_loaded = True
            self._load_each_observer()

    def _load_each_observer(self) -> None:
        # Not within the lock's own function: Ctrl-C as a loop goes on there may leave it held.
        self._found = entry_points()  # it reads all groups, whichever is asked for
        for source in self._found.select(group=PLUGINS):
            if not self._is_blocked(source):
                self._load_observer(source)

    def _load_observer(self, source: EntryPoint) -> None:
        # Backends and observers share pluggy's names, so these carry their group. They don't say
        # which distribution it is of: to read that takes longer than all else that is done here.
        name = f"{PLUGINS}:{source.name} = {source.value}"
        try:
            observer = source.load()
            if not self._manager.is_registered(observer):
                self._manager.register(observer, name)
                self._refuse_wrappers(observer)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - loading a plugin: it must hurt nobody else
            if self._manager.get_plugin(name) is not None:
                self._manager.unregister(name=name)
            owner = " ".join(_origin(source))
            reason = " ".join(str(error).split())
            warnings.warn(
                f"plugin {source.name!r} of {owner} is ignored: {reason}",
                PolyexecWarning,
                stacklevel=6,
            )

    def _refuse_wrappers(self, observer: object) -> None:
        # Hooks are called one by one, so that none can hurt another: there is nothing to wrap.
        for caller in self._manager.get_hookcallers(observer) or ():
            for hook in caller.get_hookimpls():
                if hook.plugin is observer and (hook.hookwrapper or hook.wrapper):
                    raise TypeError(
                        f"{caller.name} is marked as a wrapper, which no hook can be; use a "
                        "plain @polyexec.hookimpl"
                    )

    def _is_blocked(self, source: EntryPoint) -> bool:
        # A distribution's name is in a file of its own, which takes time to read.
        return bool(self._blocked) and not self._blocked.isdisjoint(
            {_normalized(source.name), _normalized(_origin(source)[0])}
        )


_making = threading.RLock()


@cache
def _the_only_one() -> Registry:
    return Registry()


def current() -> Registry:
    """Return the registry behind `polyexec.get_context`, made on first use."""
    with _making:  # two at once would load the observers twice
        return _the_only_one()


def _origin(source: EntryPoint) -> tuple[str, str]:
    return (source.dist.name, source.dist.version) if source.dist else ("?", "?")


def _label(source: EntryPoint) -> str:
    return f"backend {source.name!r} of {' '.join(_origin(source))}"


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
