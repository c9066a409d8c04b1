"""Which nodes a head has, written down, so that the next head knows whom to expect."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from polyexec_zmq._keys import write_private

if TYPE_CHECKING:
    from pathlib import Path


class Roster:
    """The numbers of a head's nodes, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._nodes: set[int] = set()

    def nodes(self) -> set[int]:
        """Return the nodes of the head before this one."""
        try:
            self._nodes = {int(number) for number in json.loads(self._path.read_text())}
        except (OSError, ValueError):  # the first head, or one that was killed as it wrote
            self._nodes = set()
        return set(self._nodes)

    def add(self, node: int) -> None:
        """Write down *node*."""
        if node not in self._nodes:
            self._nodes.add(node)
            self._write()

    def remove(self, node: int) -> None:
        """Strike out *node*, which is lost or has left."""
        if node in self._nodes:
            self._nodes.discard(node)
            self._write()

    def _write(self) -> None:
        write_private(self._path, json.dumps(sorted(self._nodes)))
