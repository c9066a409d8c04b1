"""The command line of ``run.py``."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SUITES = ("multiprocessing", "futures")
CONTEXTS = ("thread", "fork", "spawn", "forkserver", "zmq")
DEFAULT_PROVIDER = "polyexec"


@dataclass(frozen=True)
class Options:
    """What ``run.py`` was asked for."""

    suite: str
    provider: str  # "module:function"
    context: str
    only: str | None
    json: Path | None
    baseline: Path | None
    timeout_per_test: float
    jobs: int
    path: list[str]
    fast: bool
    ignore_applicability: bool
    list: bool
    quiet: bool


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Return the options given on the command line."""
    found = vars(_parser().parse_args(arguments))
    if ":" not in found["provider"]:
        found["provider"] = f"cpsuite.providers:{found['provider']}"
    found["path"] = [str(Path(entry).absolute()) for entry in found["path"]]
    return Options(**found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Run CPython's own tests of multiprocessing or concurrent.futures, as "
        "installed with this interpreter, against a context. See README.md.",
    )
    parser.add_argument("--suite", choices=SUITES, required=True)
    parser.add_argument("--context", required=True, help=", ".join(CONTEXTS))
    parser.add_argument(
        "--provider",
        default=DEFAULT_PROVIDER,
        help="polyexec (the default), stdlib, sabotaged, or MODULE:FUNCTION",
    )
    parser.add_argument("--path", action="append", default=[], help="one more sys.path entry")
    _add_selection(parser)
    _add_running(parser)
    return parser


def _add_selection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which tests")
    group.add_argument("--only", help="comma-separated globs or substrings of Class.test")
    group.add_argument("--fast", action="store_true", help="leave out the slow ones")
    group.add_argument(
        "--ignore-applicability",
        action="store_true",
        help="run the tests that applicability.toml rules out, too",
    )
    group.add_argument("--list", action="store_true", help="list tests and rules; run nothing")


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how they run")
    group.add_argument("--jobs", type=int, default=2, help="classes run at the same time")
    group.add_argument("--timeout-per-test", type=float, default=120.0, metavar="SECONDS")
    group.add_argument("--json", type=Path, help="write all results to this file")
    group.add_argument("--baseline", type=Path, help="compare with results written by --json")
    group.add_argument("-q", "--quiet", action="store_true", help="no line per passed test")
