"""Objects to bytes: plain pickle where it is right, cloudpickle where it is needed.

Plain pickle is several times faster, but it stores `__main__`'s functions and classes by a name
that means something else in a worker, and refuses lambdas, closures and what a notebook defined.
So its output is scanned for that name, which costs next to nothing, and cloudpickle does again
what must travel by value. Once modules are registered to be pickled by value, it does everything.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import sys

from polyexec._current import here
from polyexec.errors import UnpicklableError

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Final, NoReturn, TypeAlias

    #: How an object is pickled: what takes its buffers, reduces types, or stands for objects.
    _Way: TypeAlias = tuple[
        Callable[[pickle.PickleBuffer], Any] | None,
        Mapping[type, Callable[[Any], Any]] | None,
        Callable[[Any], int | None] | None,
    ]

__all__ = [
    "LARGE",
    "ItemDumper",
    "dumps",
    "dumps_parts",
    "loads",
    "reduced_once",
    "refuse",
    "with_what_can_be_sent",
]

PROTOCOL = 5
#: From how many bytes on a buffer is worth a way of its own.
LARGE: Final = 1 << 16
#: How pickle says that something can't be pickled.
_REFUSALS = (pickle.PicklingError, TypeError, AttributeError, RecursionError)


def dumps(
    obj: Any, *, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None
) -> bytes:
    """Return *obj* as bytes; *buffer_callback* takes large buffers out of band (PEP 574).

    Raises UnpicklableError, caused by the pickler's own error; what else an object's own reducer
    raises is let through.
    """
    buffers: list[pickle.PickleBuffer] = []
    data = _dumps(obj, buffers, None if buffer_callback is None else buffers.append, None)
    if buffer_callback is not None:
        for buffer in buffers:
            buffer_callback(buffer)
    return data


def dumps_parts(
    obj: Any, refer: Callable[[Any], int | None] | None = None
) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """Return *obj* as bytes, and apart from them the buffers in it that are LARGE.

    *refer* is asked of each object in it; one for which it returns a number is stood for by that.
    Raises as `dumps`.
    """
    buffers: list[pickle.PickleBuffer] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        with memoryview(buffer) as view:
            small = view.nbytes < LARGE or not view.contiguous
        if not small:
            buffers.append(buffer)
        return small

    return _dumps(obj, buffers, keep, refer), buffers


def _dumps(
    obj: Any,
    buffers: list[pickle.PickleBuffer],
    keep: Callable[[pickle.PickleBuffer], Any] | None,
    refer: Callable[[Any], int | None] | None,
) -> bytes:
    """Return *obj* as bytes, in the way that is right for it; *keep* fills *buffers*."""
    destination = here.destination
    way: _Way = (keep, None if destination is None else destination.reducers(), refer)
    outer, here.reduced = here.reduced, {}
    try:
        try:
            data = _plainly(obj, way)
        except Exception as error:  # noqa: BLE001 - reducers are the user's code
            if destination is not None:
                way = (keep, destination.reducers(all_of_them=True), refer)
            return _by_value(obj, buffers, way, error)
        if _by_value_modules():
            return _by_value(obj, buffers, way, None)
        if _names_main(data):
            found = _as_inherited(obj, buffers, way)
            return _by_value(obj, buffers, way, None) if found is None else found
        return data
    finally:
        here.reduced = outer


def reduced_once(obj: Any, reduce: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return `reduce()`, or what it has returned for *obj* before in the same pickle."""
    if here.reduced is None:
        return reduce()
    known = here.reduced.get(id(obj))
    if known is None:
        known = here.reduced[id(obj)] = reduce()
    return known


class ItemDumper:
    """Makes bytes of one object after another, each a pickle of its own, for about as much as one.

    It raises as `dumps`, and goes on with the next.
    """

    def __init__(self) -> None:
        destination = here.destination
        self._reducers = None if destination is None else destination.reducers()
        self._is_by_value = _by_value_modules()
        self._file: io.BytesIO = io.BytesIO()
        self._pickler: pickle.Pickler | None = None

    def __call__(self, obj: Any) -> bytes:
        """Return *obj* as bytes."""
        try:
            if not self._is_by_value:
                data = self._dump(obj)
                if not _names_main(data):
                    return data
                # Others are likely to need it, too.
                self._is_by_value, self._pickler = True, None
            return self._dump(obj)
        except Exception:  # noqa: BLE001 - who is asked again says it
            return dumps(obj)

    def _dump(self, obj: Any) -> bytes:
        if self._pickler is None:
            self._pickler = self._open()
        file, pickler = self._file, self._pickler
        try:
            pickler.dump(obj)
        except BaseException:
            self._pickler = None  # which remembers what was not written
            raise
        data = file.getvalue()
        pickler.clear_memo()
        file.seek(0)
        file.truncate()
        return data

    def _open(self) -> pickle.Pickler:
        self._file = io.BytesIO()
        if self._is_by_value:
            from polyexec.serialization.namespaces import ByValuePickler

            return ByValuePickler(self._file, PROTOCOL, self._reducers)
        pickler = pickle.Pickler(self._file, PROTOCOL)
        if self._reducers:
            pickler.dispatch_table = {**copyreg.dispatch_table, **self._reducers}
        return pickler


def _plainly(obj: Any, way: _Way) -> bytes:
    keep, reducers, refer = way
    if refer is None and not reducers:
        return pickle.dumps(obj, PROTOCOL, buffer_callback=keep)
    file = io.BytesIO()
    if refer is None:
        pickler = pickle.Pickler(file, PROTOCOL, buffer_callback=keep)
    else:
        pickler = _ReferringPickler(file, keep, refer)
    if reducers:
        pickler.dispatch_table = {**copyreg.dispatch_table, **reducers}
    pickler.dump(obj)
    return file.getvalue()


class _ReferringPickler(pickle.Pickler):
    def __init__(
        self,
        file: io.BytesIO,
        keep: Callable[[pickle.PickleBuffer], Any] | None,
        refer: Callable[[Any], int | None],
    ) -> None:
        super().__init__(file, PROTOCOL, buffer_callback=keep)
        self._refer = refer

    def persistent_id(self, obj: Any) -> int | None:
        """Return what stands for *obj*, None to have it pickled."""
        return self._refer(obj)


def loads(data: bytes | memoryview, buffers: Iterable[Any] = ()) -> Any:
    """Return the object that `dumps` made *data* and *buffers* from."""
    return pickle.loads(data, buffers=buffers)


def _as_inherited(obj: Any, buffers: list[pickle.PickleBuffer], way: _Way) -> bytes | None:
    """Return *obj* as bytes if what it holds of the main module was inherited where it goes.

    So does `_by_value`; this is there to spare the import of cloudpickle, and left alone after it.
    """
    keep, reducers, refer = way
    inheritance = None if here.destination is None else here.destination.inheritance
    if inheritance is None or refer is not None or "cloudpickle" in sys.modules:
        return None
    from polyexec.serialization.inherited import dumps_inherited

    buffers.clear()
    data = dumps_inherited(obj, inheritance, keep, reducers)
    return None if data is None or _names_main(data) else data


def _by_value(
    obj: Any,
    buffers: list[pickle.PickleBuffer],
    way: _Way,
    first: Exception | None,
) -> bytes:
    from polyexec.serialization.namespaces import dumps_by_value

    def dump(*, tolerant: bool) -> bytes:
        buffers.clear()
        return dumps_by_value(obj, PROTOCOL, *way, tolerant=tolerant)

    try:
        return with_what_can_be_sent(obj, dump, first)
    finally:
        del first  # no cycle by its traceback, if that is what is raised


def with_what_can_be_sent(
    obj: Any, dump: Callable[..., bytes], first: Exception | None = None
) -> bytes:
    """Return *obj* as *dump* makes bytes of it, or else of it *tolerant* of globals; or refuse it.

    *first* is what an earlier way has raised.
    """
    try:
        return dump(tolerant=False)
    except Exception as error:  # noqa: BLE001 - reducers are the user's code
        cause = first or error
    try:
        return dump(tolerant=True)
    except Exception:  # noqa: BLE001 - it is no global's fault
        refuse(obj, cause)
    finally:
        del cause, first  # likewise


def refuse(obj: Any, cause: Exception) -> NoReturn:
    """Raise UnpicklableError for *obj*, or *cause* if that is a reducer's own: it means more."""
    try:
        if not isinstance(cause, _REFUSALS):
            raise cause from None
        raise UnpicklableError(
            f"{_short(obj)} can't be sent to another process: {cause}; pass what can be "
            "pickled, or open files, sockets and locks in the task itself"
        ) from cause
    finally:
        del cause  # likewise


def _names_main(data: bytes) -> bool:
    return b"__main__" in data or b"__mp_main__" in data


def _by_value_modules() -> bool:
    # Who has registered a module has imported cloudpickle; another thread may just be about to.
    registered = getattr(sys.modules.get("cloudpickle"), "list_registry_pickle_by_value", None)
    return registered is not None and bool(registered())


def _short(obj: Any) -> str:
    try:
        text = repr(obj)
    except Exception:  # noqa: BLE001 - the user's __repr__
        text = f"<{type(obj).__name__} object at {id(obj):#x}>"
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line's worth
