"""Runs one test class: a process for all of its tests, and another one for what a hang leaves.

    run.py                        run_class.py (a session of its own)
      | -- command: class, tests ->  |
      | <- start, stop, start, ... - |   JSON lines over a pipe
      | <- done -------------------- |
      |            exit              |   or else: SIGABRT for tracebacks, then SIGKILL for the group

The exit is looked at without reaping, so that the process group's id stays ours until it is killed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from cpdriver import leftovers
from cpdriver.ledger import Ledger, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpdriver.session import Session

POLL = 0.05
LONGEST_LOG = 5000


def run_class(session: Session, cls: str, tests: Sequence[str]) -> Ledger:
    """Run *tests* of *cls* until each has a verdict."""
    ledger = Ledger(cls, tests)
    while ledger.left():
        ledger.begin()
        ledger.end(_ClassProcess(session, ledger).run())
    return ledger


class _ClassProcess:
    """One process that runs what is left of a class and tells the class's ledger about it."""

    def __init__(self, session: Session, ledger: Ledger) -> None:
        self._session, self._ledger = session, ledger
        self._limit = session.options.timeout_per_test
        self._token = uuid.uuid4().hex
        self._log = session.folder / f"{ledger.cls}-{self._token[:6]}.log"
        self._unparsed = b""

    def run(self) -> Verdict | None:
        """Run it to its end; return how it failed as a whole, if it did."""
        folder = tempfile.TemporaryDirectory(
            prefix="cpsuite-", dir=self._session.folder, ignore_cleanup_errors=True
        )
        self._events, writer = os.pipe()
        with folder as cwd:
            try:
                self._process = self._start(cwd, writer)
            finally:
                os.close(writer)
            exited = self._watch()
            if not exited:
                self._ask_for_tracebacks()
            good = exited and self._ledger.done
            self._ledger.leaked += leftovers.end_all(self._process, self._token, grace=good)
            os.close(self._events)
        return self._failure(exited=exited)

    def _start(self, cwd: str, writer: int) -> subprocess.Popen[bytes]:
        tests = ",".join(self._ledger.left())
        with self._log.open("wb") as log:
            return subprocess.Popen(
                self._session.command(
                    "--cls", self._ledger.cls, "--tests", tests, "--fd", str(writer)
                ),
                cwd=cwd,
                env=self._session.env | {leftovers.TOKEN: self._token},
                pass_fds=[writer],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _watch(self) -> bool:
        """Pass events on until the process exits; False if nothing was heard for too long."""
        heard = time.monotonic()
        while True:
            exited = self._has_exited()  # asked first: what it wrote before is still read
            if self._pass_on(self._read()):
                heard = time.monotonic()
            elif exited:
                return True
            elif time.monotonic() - heard > self._limit:
                return False

    def _has_exited(self) -> bool:
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is not None

    def _read(self) -> bytes:
        # Not until the end of file: forked grandchildren keep the pipe open.
        readable, _, _ = select.select([self._events], [], [], POLL)
        chunk = os.read(self._events, 65536) if readable else b""
        if readable and not chunk:
            time.sleep(POLL)
        return chunk

    def _pass_on(self, chunk: bytes) -> bool:
        *lines, self._unparsed = (self._unparsed + chunk).split(b"\n")
        for line in lines:
            self._ledger.take(json.loads(line))
        return bool(chunk)

    def _ask_for_tracebacks(self) -> None:
        self._process.send_signal(signal.SIGABRT)  # faulthandler writes them to the log
        time.sleep(0.3)

    def _failure(self, *, exited: bool) -> Verdict | None:
        code = self._process.returncode
        if not exited:
            return Verdict(
                "timeout", f"no verdict in {self._limit:g} s\n{self._tail()}", self._limit
            )
        if self._ledger.done and code == 0:
            return None
        return Verdict("error", f"the test process died, exit code {code}\n{self._tail()}")

    def _tail(self) -> str:
        return Path(self._log).read_bytes()[-LONGEST_LOG:].decode("utf-8", "replace")
