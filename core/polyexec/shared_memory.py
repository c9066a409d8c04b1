"""`multiprocessing.shared_memory`: memory that processes of one machine share by name."""

from __future__ import annotations

from multiprocessing.shared_memory import ShareableList, SharedMemory

__all__ = ["ShareableList", "SharedMemory"]
