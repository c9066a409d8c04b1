"""Processes of multiprocessing that take closures and lambdas, too."""

from __future__ import annotations

import multiprocessing.context
import pickle
from typing import TYPE_CHECKING, Any

from polyexec.surroundings import inherit_start_method

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess


class ForkProcess(multiprocessing.context.ForkProcess):
    """A process that is forked from this one."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        from polyexec_process._popen import ForkPopen

        return ForkPopen(process_obj)


class SpawnProcess(multiprocessing.context.SpawnProcess):
    """A process in a fresh interpreter."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        from polyexec_process._popen import SpawnPopen

        return SpawnPopen(process_obj)


class ForkServerProcess(multiprocessing.context.ForkServerProcess):
    """A process that is forked from a server."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        from polyexec_process._popen import ForkServerPopen

        return ForkServerPopen(process_obj)


def unpack_process(method: str | None, data: bytes) -> Any:
    """Return the process that the child is; *method* is the default context of its parent."""
    inherit_start_method(method)
    return pickle.loads(data)
