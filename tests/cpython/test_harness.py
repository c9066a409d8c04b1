"""The harness is honest: it passes nothing that was not tested, and hides nothing that failed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent

Run = tuple[subprocess.CompletedProcess[str], dict[str, Any]]


@pytest.fixture(autouse=True)
def _harness_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)


def run(results: Path, *arguments: str) -> Run:
    command = [sys.executable, str(HERE / "run.py"), "--json", str(results), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert results.exists(), ended.stderr
    return ended, json.loads(results.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("suite", "context", "only"),
    [
        ("multiprocessing", "thread", "WithThreadsTestLock,WithProcessesTestLock"),
        ("multiprocessing", "fork", "WithProcessesTestLock,TestSimpleQueue"),
        ("futures", "thread", "ThreadPoolExecutorTest,ThreadPoolShutdownTest"),
    ],
)
def test_a_sabotaged_context_lets_no_test_pass(
    suite: str, context: str, only: str, tmp_path: Path
) -> None:
    what = ["--suite", suite, "--context", context, "--only", only]
    ended, results = run(tmp_path / "results.json", "--provider", "sabotaged", *what)
    assert ended.returncode == 1
    assert results["applicable"] > 3
    assert results["passed"] == 0
    assert results["failed"] == results["applicable"] - results["skipped"]


def test_a_sample_of_the_control_passes(tmp_path: Path) -> None:
    what = ["--suite", "multiprocessing", "--context", "thread", "--only", "WithThreadsTestLock"]
    ended, results = run(tmp_path / "results.json", "--provider", "stdlib", *what)
    assert ended.returncode == 0, ended.stdout
    passed, total = results["passed"], results["applicable"]
    summary = f"{passed} passed, 0 failed, 0 skipped (of {total} applicable)"
    assert ended.stdout.splitlines()[-1] == summary
    assert passed == total > 0


def test_a_run_of_no_test_is_no_success(tmp_path: Path) -> None:
    what = ["--suite", "multiprocessing", "--context", "thread", "--only", "NoSuchTest"]
    ended, results = run(tmp_path / "results.json", "--provider", "stdlib", *what)
    assert results["applicable"] == 0
    assert ended.returncode == 1


def test_each_rule_has_a_reason() -> None:
    from cpdriver import rules

    loaded = rules.load().rules
    assert len(loaded) > 20
    assert all(rule.reason and rule.tests and rule.contexts for rule in loaded)


def test_a_rule_without_a_reason_is_refused(tmp_path: Path) -> None:
    from cpdriver import rules

    rule = 'suite = "futures"\ncontexts = ["*"]\ntests = ["*"]\ncategory = "n/a"\nreason = ""\n'
    (tmp_path / "rules.toml").write_text(f"[slow]\n[[rule]]\n{rule}", encoding="utf-8")
    with pytest.raises(rules.RuleError, match="needs a reason"):
        rules.load(tmp_path / "rules.toml")


def test_a_test_that_no_rule_names_applies() -> None:
    from cpdriver import rules

    target = rules.Target("multiprocessing", "thread", python=13, source=13)
    assert rules.load().find("WithThreadsTestNew.test_new", target) is None


def test_a_hang_is_charged_to_the_test_that_hung() -> None:
    from cpdriver.ledger import Ledger, Verdict

    ledger = Ledger("Class", ["test_a", "test_b"])
    ledger.take({"ev": "start", "test": "test_a"})
    ledger.end(Verdict("timeout"))
    assert ledger.verdicts["test_a"].status == "timeout"
    assert ledger.left() == ["test_b"]


def test_a_process_that_does_not_exit_is_a_failure_of_its_own() -> None:
    from cpdriver.ledger import Ledger, Verdict

    ledger = Ledger("Class", ["test_a"])
    ledger.take({"ev": "start", "test": "test_a"})
    ledger.take({"ev": "stop", "test": "test_a", "status": "pass", "msg": "", "dur": 0.1})
    ledger.take({"ev": "done", "env_altered": False})
    ledger.end(Verdict("timeout"))
    assert ledger.verdicts["test_a"].status == "pass"
    assert list(ledger.incidents) == ["Class [interpreter exit]"]


def test_tests_that_a_dead_process_never_reached_are_errors() -> None:
    from cpdriver.ledger import Ledger, Verdict

    ledger = Ledger("Class", ["test_a", "test_b"])
    ledger.end(Verdict("error", "died"))
    assert {verdict.status for verdict in ledger.verdicts.values()} == {"error"}
    assert not ledger.left()


COMMANDS = re.findall(
    r"^    python (tests/cpython/.*?)(?:  #.*)?$",
    (HERE / "README.md").read_text(encoding="utf-8"),
    flags=re.MULTILINE,
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_is_understood(command: str) -> None:
    script, *options = command.split()
    asked = ["--list"] if options else ["--help"]  # to run them all would take many minutes
    ended = subprocess.run(
        [sys.executable, script, *options, *asked],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


def test_there_are_the_commands_that_these_tests_know() -> None:
    assert [command.split()[0].rpartition("/")[2] for command in COMMANDS] == [
        "run.py",
        "run.py",
        "matrix.py",
    ]
