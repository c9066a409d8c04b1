"""cloudpickle, but functions of one module share their globals wherever they arrive.

cloudpickle gives each function that travels by value the globals that it refers to, as they were
when it was pickled, and a namespace of its own to keep them in. So an initializer that sets a
global would set it for nobody. Here all of one module's functions have one namespace in a process.
What is delivered to a worker replaces what was delivered before, and nothing else: a value that
code has set in the process itself stays, and so does what it has made of one that is delivered
again, unchanged. What was inherited is not delivered, only named. Nor is what can't be pickled: a
worker may have one of its own, or never use it.
"""

from __future__ import annotations

import copyreg
import enum
import functools
import io
import pickle
import re
import types
import weakref
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import cloudpickle
from cloudpickle import cloudpickle as machinery

from polyexec._current import Collection, here
from polyexec.serialization import homes
from polyexec.serialization.arrivals import known
from polyexec.serialization.callables import (
    CELLS,
    INHERITED,
    LENT,
    RETURNED,
    SAME,
    STAMPS,
    Global,
    has_arrived,
    make_cache,
    make_function,
    name_in,
    rebind,
    set_cache_state,
    set_function_state,
)
from polyexec.serialization.classes import is_by_value, reduce_class
from polyexec.serialization.deliveries import inherited_function
from polyexec.serialization.destinations import MAINS
from polyexec.serialization.functions import CACHED
from polyexec.serialization.homes import home_of
from polyexec.serialization.inherited import findings, names_in
from polyexec.serialization.standins import StandIn
from polyexec.serialization.tracker import identity_of
from polyexec.serialization.typenames import REDUCERS
from polyexec.serialization.uses import SIMPLE
from polyexec.serialization.variables import reduce_variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from polyexec.serialization.destinations import Inheritance

__all__ = ["ByValuePickler", "dumps_by_value", "stamp_of"]

#: How many bytes a global may take, pickled, to be known again when it is delivered once more.
_MOST: Final = 1 << 22
#: Globals that nobody can change, or that are not to be compared.
_UNSTAMPED: Final[tuple[type, ...]] = (
    *SIMPLE,
    *(type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType),
)
#: What is called, and may be another for what it uses though it is the same object.
_CALLED: Final = (
    *(type, types.FunctionType, types.MethodType, functools.partial),
    CACHED,
)
_NAME: Final = re.compile(r"[^\W\d]\w*")


def dumps_by_value(
    obj: Any,
    protocol: int,
    buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
    reducers: Mapping[type, Callable[[Any], Any]] | None = None,
    refer: Callable[[Any], int | None] | None = None,
    *,
    tolerant: bool = False,
) -> bytes:
    """Return *obj* as bytes, with what has no name elsewhere by value.

    *reducers* go by type; what *refer* returns a number for is stood for by that. If *tolerant*,
    functions go without those of their globals that can't be pickled.
    """
    file = io.BytesIO()
    kind: Any = ByValuePickler if refer is None else partial(_ReferringPickler, refer)
    pickler = kind(file, protocol, reducers, buffer_callback=buffer_callback)
    pickler.tolerant = tolerant
    pickler.dump(obj)
    return file.getvalue()


# -- what cloudpickle does not do, or not well --------------------------------------------------


def _reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    # cloudpickle drops the file's name, so that equal functions of two notebooks are the same; but
    # then no traceback says where it was.
    make, args = machinery._code_reduce(code)[:2]
    return _make_code, (code.co_filename, make, args)


def _make_code(filename: str, make: Callable[..., types.CodeType], args: tuple[Any, ...]) -> Any:
    return make(*args).replace(co_filename=filename)


def _reduce_cache(cached: Any) -> Any:
    """Reduce what `functools.lru_cache` made; its own way is by name, which need not be there."""
    name = getattr(cached, "__qualname__", None)  # not every callable has one
    if name is not None and cached.__module__ not in MAINS and "<locals>" not in name:
        return cached.__reduce__()
    module = cached.__module__
    named = name_in(home_of(module) or {}, cached)
    own = None if named is None else what_is_its_own(cached, module, named)
    made = make_cache, ((module, named, own), cached.cache_parameters(), cached.__wrapped__)
    return (*made, cached.__dict__, None, None, set_cache_state)


def _reduce_weak_keys(mapping: weakref.WeakKeyDictionary[Any, Any]) -> tuple[Any, ...]:
    return weakref.WeakKeyDictionary, (dict(mapping.items()),)  # a generic function has one


def _reduce_weak_values(mapping: weakref.WeakValueDictionary[Any, Any]) -> tuple[Any, ...]:
    return weakref.WeakValueDictionary, (dict(mapping.items()),)  # those stay that others refer to


def _reduce_cached_property(prop: functools.cached_property[Any]) -> tuple[Any, ...]:
    return _make_cached_property, (prop.func, prop.attrname)  # without its lock, up to Python 3.11


def _make_cached_property(func: Callable[[Any], Any], name: str | None) -> Any:
    prop: Any = functools.cached_property(func)
    prop.attrname = name
    return prop


_our_types: dict[type, Callable[[Any], Any]] = {
    ContextVar: reduce_variable,
    types.CodeType: _reduce_code,
    CACHED: _reduce_cache,
    weakref.WeakKeyDictionary: _reduce_weak_keys,
    weakref.WeakValueDictionary: _reduce_weak_values,
    functools.cached_property: _reduce_cached_property,
    **REDUCERS,
}


_set_table: Any = pickle.Pickler.dispatch_table.__set__  # type: ignore[attr-defined]  # a descriptor


if TYPE_CHECKING:

    class _Pickler(pickle.Pickler):
        def reducer_override(self, obj: Any) -> Any: ...
        def _dynamic_function_reduce(self, func: types.FunctionType) -> tuple[Any, ...]: ...

else:
    _Pickler = cloudpickle.Pickler


def _reduces_itself(kind: Any) -> bool:
    return not (
        kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__
    ) and not issubclass(kind, enum.Enum | BaseException)


def _reduce_to_name(obj: Any) -> Any:
    """Reduce *obj*, an object that may be one of the main module's, with what makes another."""
    reduced = obj.__reduce_ex__(5)
    if not isinstance(reduced, str) or "." in reduced:
        return reduced
    inheritance = _inheritance()
    if inheritance is not None and inheritance.has(reduced, obj):
        return reduced
    return _find_or_make, (reduced, type(obj), getattr(obj, "__dict__", {}))


def _find_or_make(name: str, kind: Any, state: dict[str, Any]) -> Any:
    home = home_of("__main__")
    assert home is not None
    if name not in home:
        home[name] = made = object.__new__(kind)
        homes.delivered.get("__main__", {})[name] = made
        if state:
            vars(made).update(state)
    return home[name]


class ByValuePickler(_Pickler):
    """Pickles by value what has no name elsewhere; backends derive some with reducers of theirs."""

    #: How objects of some types are reduced; what comes later goes before.
    tables: tuple[Mapping[type, Callable[[Any], Any]], ...] = (
        copyreg.dispatch_table,
        machinery.Pickler._dispatch_table,
        _our_types,
    )
    #: Whether globals are marked so that they are known again.
    stamps: bool = True
    #: Whether it is for a process that is being born, which can be given locks and queues.
    lends: bool = False
    #: Whether classes go with definitions that are used where they are not known.
    defines: bool = True
    #: Whether something else takes the place of globals that can't be pickled.
    tolerant: bool = False

    def __init__(
        self,
        file: Any,
        protocol: int,
        reducers: Mapping[type, Callable[[Any], Any]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(file, protocol, **options)
        self._reducers = reducers
        table: dict[type, Callable[[Any], Any]] = {}
        for more in (*self.tables, reducers or {}):
            table.update(more)
        # Where cloudpickle's class has one, no attribute of the object's is looked at; and that is
        # asked in Python of each object.
        _set_table(self, table)
        self._table = table
        #: Those of functions that are pickled, which may share some, by identity.
        self._cells: dict[int, types.CellType] = {}
        #: Types of whose objects nothing is special, by identity.
        self._usual: dict[int, type] = {}
        #: Of globals that were tried, by identity: why they can't be pickled, None if they can.
        self._verdicts: dict[int, str | None] = {}

    def reducer_override(self, obj: Any) -> Any:
        """Return how *obj* is pickled, or NotImplemented for the usual way."""
        kind = type(obj)
        if id(kind) in self._usual or obj is known:
            return NotImplemented
        # In a child of multiprocessing cloudpickle takes the main module for one like others.
        if kind is types.FunctionType and obj.__module__ in MAINS:
            return self._dynamic_function_reduce(obj)
        if issubclass(kind, type):
            return self._class_reduce(obj)
        if kind is types.CellType and id(obj) in self._cells:
            return types.CellType, ()
        if kind.__module__ in MAINS and _reduces_itself(kind) and kind not in self._table:
            return _reduce_to_name(obj)
        if kind not in (types.FunctionType, types.CellType):
            self._usual[id(kind)] = kind
        return super().reducer_override(obj)

    def _class_reduce(self, kind: Any) -> Any:
        if self.defines and is_by_value(kind):
            return reduce_class(self, kind)
        if kind.__module__ in MAINS:
            return machinery._dynamic_class_reduce(kind)
        return super().reducer_override(kind)

    def inner(self, file: io.BytesIO) -> ByValuePickler:
        """Return another one like it, for what is pickled apart."""
        inner = self._like(file)
        inner.stamps, inner._verdicts = self.stamps, self._verdicts
        return inner

    def _like(self, file: io.BytesIO) -> ByValuePickler:
        return type(self)(file, 5, self._reducers)

    def stamped(self, values: dict[str, Any]) -> dict[str, bytes]:
        """Return by what *values* are known again, as far as they are."""
        return _stamps(values) if self.stamps else {}

    def _dynamic_function_reduce(self, func: types.FunctionType) -> tuple[Any, ...]:
        module = func.__module__
        inheritance = _inheritance() if module in MAINS else None
        found = None if inheritance is None else findings(inheritance, func)
        if found is not None:
            global_names, classes = found
            numbers = tuple(map(identity_of, classes))
            return inherited_function, (module, func.__qualname__, global_names, numbers)
        names = names_in(func.__code__)
        uses = here.collection.uses
        if uses is not None:
            # First, for who is late to rebind one has it sent again.
            uses.add(func, names)
        reduced: tuple[Any, ...] = super()._dynamic_function_reduce(func)
        if module is None or func.__globals__ is not home_of(module):
            return reduced  # made by exec(), say, with globals of its own
        slots = reduced[2][1]
        namespace = func.__globals__
        used = slots["__globals__"]
        named = name_in(namespace, func)
        own = None if named is None else what_is_its_own(func, module, named)
        for name in names:
            if name in namespace:  # those of the bodies of classes are not among them
                used.setdefault(name, namespace[name])
        self._refer_to_globals(namespace, slots, used)
        sent = slots["__globals__"] = dict(self._sent(used, inheritance))
        if inheritance is not None:
            rest = (name for name in used if name not in sent)
            slots[SAME] = [name for name in rest if inheritance.has(name, used[name])]
        if self.lends:
            slots[LENT] = True
        if self.stamps:
            slots[STAMPS] = self.stamped(sent)
        code, base, *_, cells = reduced[1]
        if func.__closure__:
            # What is in them comes with the state, for that may lead here again.
            contents = [_content(cell) for cell in slots["__closure__"]]
            cells = func.__closure__
            slots["__closure__"], slots[CELLS] = None, list(zip(cells, contents, strict=True))
            self._cells.update((id(cell), cell) for cell in cells)
        made = make_function, ((module, named, own), code, base, cells)
        return (*made, *reduced[2:-1], set_function_state)

    def _refer_to_globals(
        self, namespace: dict[str, Any], slots: dict[str, Any], used: dict[str, Any]
    ) -> None:
        """Have a function's *slots* refer to globals by name; those are *used* then, too."""
        for hint in (slots.get("__annotations__") or {}).values():
            names = _NAME.findall(hint) if isinstance(hint, str) else ()
            for name in names:
                # No module is imported for a hint's sake.
                if not isinstance(namespace.get(name, types), types.ModuleType):
                    used[name] = namespace[name]
        names_of: dict[int, str] = {}

        def referred(value: Any) -> Any:
            if isinstance(value, _UNSTAMPED):
                return value
            if not names_of:
                names_of.update((id(value), name) for name, value in list(namespace.items()))
            name = names_of.get(id(value))
            if name is not None:
                used[name] = value
                return Global(name)
            why = self._obstacle(value) if self.tolerant else None
            return value if why is None else StandIn(f"an object of type {type(value)}", why)

        rebind(slots, referred)

    def _sent(
        self, names: dict[str, Any], inheritance: Inheritance | None
    ) -> Iterator[tuple[str, Any]]:
        """Yield globals as they are sent; not those that are there as they are here."""
        for name, value in names.items():
            is_there = inheritance is not None and inheritance.has(name, value)
            # What is called goes as it is now, if it can, for what it uses may be another.
            if is_there and not isinstance(value, _CALLED):
                continue
            why = self._obstacle(value) if self.tolerant else None
            if why is None:
                yield name, value
            elif not is_there:
                yield name, StandIn(f"the global {name!r}", why)

    def _obstacle(self, value: Any) -> str | None:
        """Return why *value* can't be pickled, None if it can."""
        if isinstance(value, _UNSTAMPED):
            return None
        key = id(value)
        if key not in self._verdicts:
            self._verdicts[key] = None  # it may lead to itself
            trial = self.inner(io.BytesIO())
            trial.tolerant, trial.stamps = True, False
            try:
                trial.dump(value)
            except Exception as error:  # noqa: BLE001 - the user's reducers
                self._verdicts[key] = f"{type(error).__name__}: {error}"
        return self._verdicts[key]


class _ReferringPickler(ByValuePickler):
    """Has numbers stand for objects, in what is pickled with it, and nothing apart from that."""

    def __init__(self, refer: Callable[[Any], int | None], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._refer = refer

    def persistent_id(self, obj: Any) -> int | None:
        """Return what stands for *obj*, None to have it pickled."""
        return self._refer(obj)

    def _like(self, file: io.BytesIO) -> ByValuePickler:
        return ByValuePickler(file, 5, self._reducers)


def _inheritance() -> Inheritance | None:
    return None if here.destination is None else here.destination.inheritance


# -- globals that are delivered again -------------------------------------------------------------


class _Stamping(ByValuePickler):
    """Pickles one global by itself, to compare it with what it was."""

    stamps = False

    def _dynamic_function_reduce(self, func: types.FunctionType) -> tuple[Any, ...]:
        reduced: tuple[Any, ...] = _Pickler._dynamic_function_reduce(self, func)
        reduced[2][1]["__globals__"] = {}  # those are compared by themselves
        return reduced


class _TooLargeError(Exception):
    """Raised when what is to be compared takes too much."""


class _Digest:
    """A file of which only the digest is kept."""

    def __init__(self) -> None:
        import hashlib  # takes long

        self._hash = hashlib.sha256()
        self._left = _MOST

    def write(self, data: Any) -> None:
        with memoryview(data) as view:
            self._left -= view.nbytes
            if self._left < 0:
                raise _TooLargeError
            self._hash.update(view)

    def digest(self) -> bytes:
        return self._hash.digest()


def _check(buffer: pickle.PickleBuffer) -> bool:
    """Have *buffer* pickled with the rest, unless it takes too much."""
    with memoryview(buffer) as view:
        if view.nbytes > _MOST:
            raise _TooLargeError
    return True


def _stamps(names: dict[str, Any]) -> dict[str, bytes]:
    stamps = {}
    for name, value in names.items():
        is_function = type(value) is types.FunctionType and value.__module__ in MAINS
        unstamped = isinstance(value, _UNSTAMPED) and not is_function
        stamp = None if unstamped else _stamp(value)
        if stamp is not None:
            stamps[name] = stamp
    return stamps


def _stamp(value: Any) -> bytes | None:
    file = _Digest()
    outer, here.collection = here.collection, Collection(needs=[])  # classes may change without it
    try:
        _Stamping(file, protocol=5, buffer_callback=_check).dump(value)
    except Exception:  # noqa: BLE001 - it is too large, or can't be pickled, as will be said
        return None
    finally:
        here.collection = outer
    return file.digest()


def what_is_its_own(function: Any, module: str, name: str) -> bytes | None:
    """Return by what another process knows *function* again, which *module* has by that *name*.

    None if that can't be.
    """
    inheritance = _inheritance()
    if inheritance is not None and module in MAINS and inheritance.has(name, function):
        return INHERITED
    destination = here.destination
    if destination is not None and destination.is_origin and has_arrived(function, module, name):
        return RETURNED
    return stamp_of(function)


def stamp_of(function: Any) -> bytes | None:
    """Return by what is known again what *function* has beside its code, None if that can't be."""
    wrapped = function.__wrapped__ if isinstance(function, CACHED) else function
    if type(wrapped) is not types.FunctionType:
        return None
    cells = [_content(cell) for cell in wrapped.__closure__ or ()]
    own = function.__dict__, wrapped.__dict__, wrapped.__annotations__, wrapped.__doc__
    parts = wrapped.__defaults__, wrapped.__kwdefaults__, cells, *own
    return _stamp(parts) if any(parts) else b""


def _content(cell: types.CellType) -> Any:
    try:
        return (cell.cell_contents,)
    except ValueError:  # nothing yet
        return None
