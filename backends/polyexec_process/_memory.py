"""Memory that has a descriptor, so that other processes can have it, too."""

from __future__ import annotations

import os


def memory(name: str) -> int:
    """Return a descriptor of new memory, which the kernel frees with its last holder."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    import tempfile

    fd, path = tempfile.mkstemp(prefix=name)
    os.unlink(path)  # noqa: PTH108 - pathlib takes long to import
    return fd
