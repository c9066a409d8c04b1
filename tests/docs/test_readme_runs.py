"""The README: every block of code in it runs, as a reader would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ports import free_port

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
PROGRAMS = [code for kind, code in BLOCKS if kind == "python" and "hookimpl" not in code]
SHELL = [code for kind, code in BLOCKS if kind == "sh"]


def _of_kind(kind: str, holding: str) -> str:
    (code,) = [code for found, code in BLOCKS if found == kind and holding in code]
    return str(code)


def _environment(*path: Path) -> dict[str, str]:
    here = Path(sys.executable).parent
    return os.environ | {
        "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(map(str, path)),
    }


def _shell(code: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", code],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert {kind for kind, _ in BLOCKS} == {"python", "sh", "toml"}


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_of_the_readme_runs(program: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(program, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout


def test_the_first_command_prints_what_sha256sum_prints() -> None:
    first = SHELL[0].splitlines()[0]
    install, pipeline = first.split(" && ")
    assert install == "pip install '.[test]'"
    ours = _shell(pipeline)
    find = pipeline.split(" | ")[0]
    theirs = _shell(f"{find} | xargs sha256sum")
    assert ours.returncode == 0, ours.stderr
    assert ours.stdout == theirs.stdout
    assert len(ours.stdout.splitlines()) > 50


def test_the_second_command_is_the_one_that_ci_runs() -> None:
    assert SHELL[0].splitlines()[1] == "python -m pytest"


@pytest.mark.parametrize("block", SHELL[1:], ids=range(1, len(SHELL)))
def test_a_shell_block_of_the_readme_runs(block: str, tmp_path: Path) -> None:
    leaves_files = "--connection-file" in block
    # Its port may be taken here, for the tests of another Python run just then.
    block = block.replace("5557", str(free_port()))
    # What a block that fails has left running would keep us waiting.
    block = f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\nset -e\n{block}"
    run = _shell(block, tmp_path if leaves_files else ROOT)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_command_line_block_shows_what_the_text_says() -> None:
    run = _shell(_of_kind("sh", "polyexec contexts"))
    assert "thread" in run.stdout
    assert "exit code 1" in run.stdout
    assert "'two'" in run.stderr


def test_the_backend_of_the_readme_passes_the_kit(tmp_path: Path) -> None:
    backend = _of_kind("python", "hookimpl")
    assert len(backend.splitlines()) <= 40
    declared = _of_kind("toml", "polyexec.backends").replace(
        '"polyexec_stdpool"', "polyexec_stdpool"
    )
    entry_points = declared.replace(
        '[project.entry-points."polyexec.backends"]', "[polyexec.backends]"
    )
    info = tmp_path / "polyexec_stdpool-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: polyexec-stdpool\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    (tmp_path / "polyexec_stdpool.py").write_text(backend)
    kit = ["-p", "polyexec.testing.plugin", "--pyargs", "polyexec.testing", "--backend", "stdpool"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *kit],
        cwd=tmp_path,
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout
    assert re.search(r"keeps (\d+) of \1 promises", run.stdout)
