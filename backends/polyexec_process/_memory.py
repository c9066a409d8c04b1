"""Memory that has a descriptor, so that other processes can have it, too."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def memory(name: str) -> int:
    """Return a descriptor of new memory, which the kernel frees with its last holder."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    fd, path = tempfile.mkstemp(prefix=name)
    Path(path).unlink()
    return fd
