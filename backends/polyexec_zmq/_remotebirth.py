"""How a worker on a node is born, by what its program has pickled; imports no ZeroMQ."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polyexec_process.engine import Birth


@dataclass
class RemoteBirth:
    """A program's `Birth`, pickled, and what only the node knows of it."""

    name: str
    start_method: str
    cpus: int
    birth: bytes
    initializer: bytes | None = field(default=None, init=False)

    def settle(self) -> None:
        """Have this process look as one that multiprocessing started."""
        birth: Birth = pickle.loads(self.birth)
        birth.name, birth.start_method, birth.cpus = self.name, self.start_method, self.cpus
        birth.settle()
        self.initializer = birth.initializer
