"""`multiprocessing.sharedctypes`, whose objects are made on the default context."""

from __future__ import annotations

from multiprocessing.sharedctypes import copy, synchronized
from typing import TYPE_CHECKING, Any

from polyexec._default import late, others_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]

__getattr__: Callable[[str], Any] = others_of("multiprocessing.sharedctypes")

Array: Callable[..., Any] = late("Array")
RawArray: Callable[..., Any] = late("RawArray")
RawValue: Callable[..., Any] = late("RawValue")
Value: Callable[..., Any] = late("Value")
