"""Where and under which environment a run's test processes live."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cpdriver.options import Options

ROOT = Path(__file__).parent.parent
SCRIPT = str(ROOT / "run_class.py")

# What would change the tests' behaviour from outside.
_UNWANTED = ("PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONSTARTUP")


class SuiteNotLoadedError(RuntimeError):
    """Raised when a suite can't be imported with the provider's context in it."""


@dataclass(frozen=True)
class Listing:
    """A suite's tests by class, where its source is, and how much of them the provider offers."""

    tests: dict[str, list[str]]
    source: str
    source_minor: int
    partial: bool


class Session:
    """One run: its scratch folder and the environment of everything it starts."""

    def __init__(self, options: Options, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.env = _environment(options, _write_config(options, folder))

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs ``run_class.py``."""
        faults = ("-X", "faulthandler")
        return [sys.executable, *faults, SCRIPT, "--suite", self.options.suite, *arguments]

    def discover(self) -> Listing:
        """Ask a fresh process what the suite holds."""
        out = self.folder / "listing.json"
        ended = subprocess.run(
            self.command("--list", str(out)),
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if not out.exists():
            raise SuiteNotLoadedError(
                f"cannot load the {self.options.suite} suite for provider "
                f"{self.options.provider!r}, context {self.options.context!r}:\n"
                f"{ended.stderr[-4000:]}"
            )
        data: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return Listing(**data)


def _write_config(options: Options, folder: Path) -> Path:
    """Write the module that tells workers what is under test; return its folder."""
    config = folder / "config"
    config.mkdir()
    text = f"PROVIDER = {options.provider!r}\nCONTEXT = {options.context!r}\n"
    (config / "_cpsuite_config.py").write_text(text, encoding="utf-8")
    return config


def _environment(options: Options, config: Path) -> dict[str, str]:
    inherited = os.environ.get("PYTHONPATH")
    paths = [str(config), str(ROOT), *options.path, *([inherited] if inherited else [])]
    return {name: value for name, value in os.environ.items() if name not in _UNWANTED} | {
        "PYTHONPATH": os.pathsep.join(paths),
        "CPSUITE_PROVIDER": options.provider,
        "CPSUITE_CONTEXT": options.context,
    }
