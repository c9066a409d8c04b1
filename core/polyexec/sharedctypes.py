"""`multiprocessing.sharedctypes`, whose objects are made on the default context."""

from __future__ import annotations

from multiprocessing.sharedctypes import copy, synchronized

from polyexec._default import late

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]

Array = late("Array")
RawArray = late("RawArray")
RawValue = late("RawValue")
Value = late("Value")
