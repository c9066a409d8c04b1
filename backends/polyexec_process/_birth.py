"""What a worker is told before anything else, and how it makes itself at home by that."""

from __future__ import annotations

import contextlib
import multiprocessing.context
import multiprocessing.process
import os
import sys

from polyexec.cpus import limit_cpus
from polyexec.namedtuple import NamedTuple
from polyexec.serialization.destinations import MAINS
from polyexec.serialization.homes import NotRun, adopt, inherit_classes
from polyexec_process import _carry

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from polyexec.surroundings import Surroundings


class Birth(NamedTuple):
    """A worker's surroundings: *cpus* is its share of them, *initializer* is pickled.

    That is None where it was inherited, or there is none.
    """

    name: str
    start_method: str
    parent_pid: int
    parent_name: str
    authkey: bytes
    cpus: int
    surroundings: Surroundings
    initializer: bytes | None = None
    argv: Sequence[str] = ()
    directory: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether results stay on this machine."""
        return True

    def settle(self) -> bytes | None:
        """Have this process look as one that multiprocessing started; return its initializer."""
        limit_cpus(self.cpus)
        # Functions of the program's main module travel by value, and find their globals here.
        main = sys.modules["__main__"]
        inherits = self.start_method == "fork" or main.__name__ == "__mp_main__"
        if inherits:
            inherit_classes()
        else:
            # Pickles that know no better than names find what came here.
            sys.modules.update(dict.fromkeys(MAINS, NotRun("__main__")))
            sys.modules["__polyexec_worker__"] = main
        for name in MAINS:
            if name in sys.modules:
                adopt(name, vars(sys.modules[name]))
        if self.argv:
            sys.argv = list(self.argv)
        if self.directory is not None:
            with contextlib.suppress(OSError):  # it may have been removed since
                os.chdir(self.directory)
        module: Any = multiprocessing.process
        process: Any = module.BaseProcess()
        process._name = self.name
        process._parent_pid = self.parent_pid
        process._identity = (os.getpid(),)
        process._popen = None
        process._config["authkey"] = module.AuthenticationString(self.authkey)
        process._config["daemon"] = False
        module._current_process = process
        module._parent_process = module._ParentProcess(self.parent_name, self.parent_pid, None)
        module._children = set()
        if "multiprocessing.util" in sys.modules:
            # Queues and others that were inherited have their threads begin anew.
            process._after_fork()
        # As multiprocessing.spawn.prepare does.
        default: Any = multiprocessing.context._default_context
        default.set_start_method(self.start_method, force=True)
        # Last, for warnings may be errors from here on.
        _carry.settle(self.surroundings, forked=self.start_method == "fork")
        return self.initializer
