"""How a worker on a node is born, by what its program has pickled; imports no ZeroMQ."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from polyexec_process.submitting import Birth


class RemoteBirth(NamedTuple):
    """A program's `Birth`, pickled, and what only the node knows of it."""

    name: str
    start_method: str
    cpus: int
    birth: bytes
    #: Environment variables that are this worker's alone.
    env: dict[str, str]
    #: Where its streams are connected to, and who it is there.
    output: tuple[str, dict[str, Any]] | None

    @property
    def is_local(self) -> bool:
        """Whether results stay on this machine."""
        return False

    def settle(self) -> bytes | None:
        """Have this process look as one that multiprocessing started; return its initializer."""
        os.environ.update(self.env)
        told: Birth = pickle.loads(self.birth)
        birth = told._replace(name=self.name, start_method=self.start_method, cpus=self.cpus)
        initializer = birth.settle()
        if self.output is not None:
            from polyexec_zmq._output import connect_streams

            address, about = self.output
            connect_streams(address, {**about, "worker": self.name})
        return initializer
