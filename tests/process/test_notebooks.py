"""Programs that are run cell by cell, in the kernel of a notebook."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from core.fakes import PATIENCE
from process.programs import LOCAL

pytest.importorskip("ipykernel")
manager = pytest.importorskip("jupyter_client.manager")

if TYPE_CHECKING:
    from collections.abc import Iterator

    from process.programs import Runner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


class Notebook:
    """Runs cells in a kernel."""

    def __init__(self, program: Runner) -> None:
        self._program = program
        #: What the last cell has shown as its result.
        self.result: str | None = None
        self.manager: Any = manager.KernelManager()
        self.manager.start_kernel(env=program.env, cwd=str(program.folder))
        self._client = self.manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=6 * PATIENCE)

    def run(self, cell: str) -> str:
        """Run *cell*, and return what it prints, shows and raises."""
        said: list[str] = []
        self.result = None

        def hear(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "error":
                said.append(f"{content['ename']}: {content['evalue']}")
            elif message["msg_type"] == "execute_result":
                self.result = content["data"]["text/plain"]
                said.append(content["data"]["text/plain"])
            else:
                said.append(content.get("text", ""))

        self._client.execute_interactive(
            self._program.source(cell), output_hook=hear, timeout=3 * PATIENCE
        )
        return "".join(said)

    def close(self) -> None:
        """End the kernel, as a user does."""
        self._client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel()
        self.manager.cleanup_resources()


@pytest.fixture
def notebook(program: Runner) -> Iterator[Notebook]:
    notebook = Notebook(program)
    notebook.run("import os, time, polyexec; context = polyexec.get_context(METHOD)")
    yield notebook
    notebook.close()


def test_functions_lambdas_and_classes_of_cells_are_tasks(notebook: Notebook) -> None:
    notebook.run("executor = context.Executor(2)")
    notebook.run("def work(number):\n    return number * factor")
    notebook.run("factor = 3\nclass Point:\n    def __init__(self, x):\n        self.x = x")
    notebook.run("def moved(point):\n    return Point(point.x + 1)")
    assert notebook.run("list(executor.map(work, range(3)))") == "[0, 3, 6]"
    assert notebook.run("executor.submit(lambda: factor + 1).result()") == "4"
    assert notebook.run("moved_point = executor.submit(moved, Point(5)).result()") == ""
    assert notebook.run("isinstance(moved_point, Point), moved_point.x") == "(True, 6)"


def test_a_global_that_an_initializer_of_a_cell_sets_is_the_tasks(notebook: Notebook) -> None:
    notebook.run("offset = None\ndef work(number):\n    return number + offset")
    notebook.run("def initialize(value):\n    global offset\n    offset = value")
    notebook.run("executor = context.Executor(2, initializer=initialize, initargs=(100,))")
    assert notebook.run("list(executor.map(work, range(3)))") == "[100, 101, 102]"
    assert notebook.run("print(offset)") == "None\n"


@pytest.mark.parametrize("method", LOCAL)
def test_processes_run_what_cells_define(notebook: Notebook) -> None:
    notebook.run("queue = context.SimpleQueue()\ndef work(item):\n    queue.put(item)")
    notebook.run("class Worker(context.Process):\n    def run(self):\n        work(self.name)")
    notebook.run("context.Process(target=work, args=('function',)).start()")
    assert notebook.run("queue.get()") == "'function'"
    notebook.run("Worker(name='class').start()")
    assert notebook.run("queue.get()") == "'class'"


def test_what_a_later_cell_defines_is_what_later_tasks_do(notebook: Notebook) -> None:
    notebook.run("executor = context.Executor(1)\ndef work():\n    return 'first'")
    assert notebook.run("executor.submit(work).result()") == "'first'"
    notebook.run("def work():\n    return helper()\ndef helper():\n    return 'second'")
    assert notebook.run("executor.submit(work).result()") == "'second'"


def test_cells_await_tasks(notebook: Notebook) -> None:
    notebook.run("executor = context.Executor(2)")
    assert notebook.run("await executor.submit(pow, 2, 10)") == "1024"
    assert notebook.run("[each async for each in executor.amap(abs, range(-2, 1))]") == "[2, 1, 0]"


def test_errors_of_tasks_are_errors_of_cells(notebook: Notebook) -> None:
    notebook.run("executor = context.Executor(1)\nclass OddError(Exception): pass")
    notebook.run("def fail():\n    raise OddError('odd')")
    assert notebook.run("executor.submit(fail).result()") == "OddError: odd"
    assert "exited with code 3" in notebook.run("executor.submit(os._exit, 3).result()")
    assert notebook.run("executor.submit(pow, 2, 10).result()") == "1024"


def test_a_task_that_prints_ends_all_the_same(notebook: Notebook) -> None:
    notebook.run("def work(number):\n    print('printed', flush=True)\n    return number")
    notebook.run("executor = context.Executor(2)")
    notebook.run("sum(executor.map(work, range(100)))")
    # Not what it shows last, for what forked tasks print it shows by a thread of its own.
    assert notebook.result == "4950"


def test_an_interrupted_cell_leaves_a_kernel_that_works(notebook: Notebook) -> None:
    notebook.run("executor = context.Executor(1)\nexecutor.submit(int).result()")
    notebook.run("def interrupt(pid):\n    os.kill(pid, 2)\n    time.sleep(1)")
    cell = "executor.submit(interrupt, os.getpid()).result()"
    assert notebook.run(cell).startswith("KeyboardInterrupt")
    assert notebook.run("executor.submit(pow, 2, 10).result()") == "1024"


def test_a_kernel_that_is_killed_leaves_no_worker(notebook: Notebook) -> None:
    notebook.run("executor = context.Executor(2)\nexecutor.submit(int).result()")
    notebook.run("futures = [executor.submit(time.sleep, 1000) for _ in range(4)]")
    notebook.manager.shutdown_kernel(now=True)
