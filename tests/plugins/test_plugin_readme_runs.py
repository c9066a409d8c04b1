"""plugins/README.md: what it shows works, as a reader would use it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
PYTHON = [code for kind, code in BLOCKS if kind == "python"]
BACKEND, OBSERVER = "".join(PYTHON[:2]), PYTHON[3]

BRIDGE = """
import concurrent.futures

import polyexec

{accept}

class PoolExecutor(polyexec.Executor):
    accept = accept

    def __init__(self, context):
        super().__init__(context, 2)
        self._pool = concurrent.futures.ProcessPoolExecutor(2)

    def stop(self, wait):
        self._pool.shutdown(wait)


class PoolContext(polyexec.Context):
    name = "pool"

    def Executor(self, max_workers=None, **options):
        return PoolExecutor(self)


if __name__ == "__main__":
    with PoolContext().Executor() as executor:
        print(list(executor.map(lambda number: number * number, range(5))))
        print(repr(executor.submit(int, "x").exception()))
"""


def _install(folder: Path, name: str, source: str, group: str) -> None:
    """Put a distribution of one module into *folder*, as an installer would."""
    info = folder / f"polyexec_{name}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: polyexec-{name}\nVersion: 0.1.0\n"
    )
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = polyexec_{name}\n")
    (folder / f"polyexec_{name}.py").write_text(source, encoding="utf-8")


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_there_are_the_blocks_that_these_tests_know() -> None:
    assert [kind for kind, _ in BLOCKS].count("python") == 4
    assert {kind for kind, _ in BLOCKS} == {"python", "toml", "sh"}


def test_the_names_in_the_toml_are_those_that_are_tested() -> None:
    toml = [code for kind, code in BLOCKS if kind == "toml"]
    assert '"polyexec.backends"]\ncrew = "polyexec_crew"' in toml[0]
    assert '"polyexec.plugins"]\nfailures = "polyexec_failures"' in toml[1]


def test_the_backend_has_forty_lines_of_code_at_most() -> None:
    lines = [line for line in BACKEND.splitlines() if line.strip()]
    assert len(lines) <= 40


@pytest.mark.timeout(180)
def test_the_backend_passes_the_kit(tmp_path: Path) -> None:
    _install(tmp_path, "crew", BACKEND, "polyexec.backends")
    kit = ["-p", "polyexec.testing.plugin", "--pyargs", "polyexec.testing", "--backend", "crew"]
    run = _run(tmp_path, "-m", "pytest", "-q", *kit)
    assert run.returncode == 0, run.stdout
    assert re.search(r"keeps (\d+) of \1 promises", run.stdout)


def test_the_backend_runs_tasks_and_is_listed(tmp_path: Path) -> None:
    _install(tmp_path, "crew", BACKEND, "polyexec.backends")
    mapped = _run(tmp_path, "-m", "polyexec", "map", "--context", "crew", "builtins:len", "a", "bb")
    assert mapped.stdout == "1\n2\n", mapped.stderr
    assert "polyexec-crew" in _run(tmp_path, "-m", "polyexec", "contexts").stdout


def test_the_observer_sees_tasks_fail(tmp_path: Path) -> None:
    _install(tmp_path, "failures", OBSERVER, "polyexec.plugins")
    program = "import polyexec\npolyexec.get_context('thread').Executor(1).submit(int, 'x')"
    run = _run(tmp_path, "-c", program)
    assert run.stdout.startswith("int failed: invalid literal"), run.stderr


def test_the_bridge_to_processes_carries_results_and_errors(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(BRIDGE.format(accept=PYTHON[2]), encoding="utf-8")
    run = _run(tmp_path, "program.py")
    assert run.stdout.splitlines()[0] == "[0, 1, 4, 9, 16]", run.stderr
    assert run.stdout.splitlines()[1].startswith("ValueError(")


def test_the_bridge_to_processes_tells_that_a_worker_died(tmp_path: Path) -> None:
    program = BRIDGE.format(accept=PYTHON[2]).replace('int, "x"', "__import__('os')._exit, 1")
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    run = _run(tmp_path, "program.py")
    assert "the worker that had '_exit' died" in run.stdout, run.stderr


def test_the_command_of_the_kit_is_the_one_that_is_tested() -> None:
    (command,) = [code for kind, code in BLOCKS if kind == "sh"]
    assert command.split() == [
        *("pytest", "-p", "polyexec.testing.plugin"),
        *("--pyargs", "polyexec.testing", "--backend", "thread"),
    ]
