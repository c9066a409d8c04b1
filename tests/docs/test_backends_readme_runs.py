"""backends/README.md: the cluster that it shows runs; its services name options that there are."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from polyexec_zmq._cli import COMMANDS
from ports import free_port

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "backends" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
SESSION = "\n".join(code for kind, code in BLOCKS if kind == "sh")
SERVICES = [code for kind, code in BLOCKS if kind == "ini"]
(JOB,) = [code for kind, code in BLOCKS if kind == "bash"]

#: Other machines are this one.
ELSEWHERE = """
set -e
trap 'kill -INT $(jobs -p) 2>/dev/null || wait || :; wait || :' EXIT
scp() { :; }
ssh() { shift; exec "$@"; }
srun() { exec "$@"; }
"""


def _shell(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run *code* in a folder, with a port that is free."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", ELSEWHERE + code.replace("5555", str(free_port()))],
        cwd=folder,
        env={**os.environ, "PATH": path, "XDG_STATE_HOME": str(folder), "SLURM_JOB_ID": "7"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_every_block_is_of_a_kind_that_is_tried() -> None:
    assert {kind for kind, _ in BLOCKS} == {"sh", "ini", "bash"}


def test_the_commands_run_a_cluster(tmp_path: Path) -> None:
    run = _shell(SESSION, tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "500500" in run.stdout
    assert "nodes: 1, CPUs: 2" in run.stdout
    assert "revoked node7" in run.stdout


def test_the_batch_job_runs_its_program_and_ends(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import polyexec\n"
        "with polyexec.get_context('zmq') as context, context.Executor(1) as executor:\n"
        "    print('computed', executor.submit(abs, -7).result())\n"
    )
    local = JOB.replace("polyexec head", "polyexec head --bind tcp://127.0.0.1:5555")
    run = _shell(local, tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "computed 7" in run.stdout
    assert "the head stops" in run.stdout


@pytest.mark.parametrize("service", SERVICES, ids=["head", "node"])
def test_a_service_names_options_that_there_are(service: str) -> None:
    (line,) = re.findall(r"^ExecStart=(.*)$", service, flags=re.MULTILINE)
    _, name, *arguments = shlex.split(line)
    (command,) = [command for command in COMMANDS if command.name == name]
    assert command.make_context(name, arguments, resilient_parsing=False).params


def test_every_command_is_in_the_table() -> None:
    for command in COMMANDS:
        assert f"`polyexec {command.name}" in TEXT
        if isinstance(command, click.Group):
            assert all(f"`{name}" in TEXT or f" {name} " in TEXT for name in command.commands)
