"""Tasks for workers of a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import polyexec


def wait_for(begun: str, file: str, size: int = 0) -> bytes:
    """Say in a file that it has begun, wait for another, and return so many bytes."""
    Path(begun).touch()
    while not Path(file).exists():
        time.sleep(0.01)
    return b"x" * size


def close_all() -> None:
    """Close what the worker is connected by, and go on."""
    os.closerange(3, 256)
    time.sleep(600)


def touch(file: str) -> None:
    """Make a file."""
    Path(file).touch()


def ask_the_cluster(value: int) -> int:
    """Have the cluster that this worker belongs to work it out."""
    with polyexec.get_context("zmq") as context, context.Executor(1) as executor:
        return executor.submit(abs, value).result()


def environment(name: str) -> str | None:
    """Return a worker's environment variable."""
    return os.environ.get(name)


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return touch, (self.file,)


def given() -> tuple[str | None, str | None, int]:
    """Return which units of a GPU this task's worker has, as it is told, and its process."""
    gpu = os.environ.get("POLYEXEC_RESOURCE_GPU")
    return gpu, os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()


def given_after(folder: str, count: int) -> tuple[str | None, str | None, int]:
    """Return what `given` does, once *count* tasks have come so far."""
    Path(folder, str(os.getpid())).touch()
    while len(list(Path(folder).iterdir())) < count:
        time.sleep(0.01)  # nobody tells of files
    return given()


def talk(count: int) -> int:
    """Write some lines, in all ways there are."""
    for number in range(count):
        sys.stdout.write(f"line {number}\n")
        os.write(2, b"error %d\n" % number)
    subprocess.run(["echo", "from a child"], check=True)
    sys.stdout.write("no newline")
    sys.stdout.flush()
    return count


def shout(size: int) -> int:
    """Write very much, in lines."""
    line = "x" * 99
    for _ in range(size // 100):
        sys.stdout.write(f"{line}\n")
    return size
