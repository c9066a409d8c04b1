"""How a worker on a node is born, by what its program has pickled; imports no ZeroMQ."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyexec_process.submitting import Birth


@dataclass
class RemoteBirth:
    """A program's `Birth`, pickled, and what only the node knows of it."""

    name: str
    start_method: str
    cpus: int
    birth: bytes
    #: Environment variables that are this worker's alone.
    env: dict[str, str] = field(default_factory=dict)
    #: Where its streams are connected to, and who it is there.
    output: tuple[str, dict[str, Any]] | None = None
    initializer: bytes | None = field(default=None, init=False)

    def settle(self) -> None:
        """Have this process look as one that multiprocessing started."""
        os.environ.update(self.env)
        birth: Birth = pickle.loads(self.birth)
        birth.name, birth.start_method, birth.cpus = self.name, self.start_method, self.cpus
        birth.settle()
        if self.output is not None:
            from polyexec_zmq._output import connect_streams

            address, about = self.output
            connect_streams(address, {**about, "worker": self.name})
        self.initializer = birth.initializer
