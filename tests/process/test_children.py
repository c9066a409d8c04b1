"""How a process travels to its child, what it takes along, and what stays here."""

from __future__ import annotations

import multiprocessing.process
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
import tasks
from core.fakes import PATIENCE
from polyexec.testing import tasks as kit_tasks
from process.programs import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polyexec import Context
    from process.programs import Runner

pytestmark = pytest.mark.parametrize("method", LOCAL)


@pytest.fixture
def default(method: str) -> Iterator[str]:
    """Make the context of this test the default one."""
    polyexec.set_start_method(method, force=True)
    yield method
    polyexec.set_start_method(None, force=True)


def test_a_process_takes_a_closure(context: Context) -> None:
    queue = context.Queue()
    item = "item"
    process = context.Process(target=lambda: queue.put(item))
    process.start()
    assert queue.get(timeout=PATIENCE) == "item"
    process.join(PATIENCE)
    assert process.exitcode == 0
    queue.close()
    queue.join_thread()


def test_what_a_child_is_given_lives_until_the_child_has_it(context: Context) -> None:
    def start() -> Any:
        lock = context.Lock()  # which only the child's arguments refer to from then on
        process = context.Process(target=tasks.hold, args=(lock,))
        process.start()
        return process

    for process in [start() for _ in range(4)]:
        process.join(PATIENCE)
        assert process.exitcode == 0


def test_memory_that_a_child_uses_is_given_to_no_other(context: Context) -> None:
    go = context.Event()

    def start(number: int) -> Any:
        value = context.Value("i", number)
        process = context.Process(target=tasks.leave_with, args=(go, value))
        process.start()
        return process

    processes = [start(number) for number in range(3)]
    go.set()
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0, 1, 2]


def test_a_started_process_keeps_no_data(context: Context) -> None:
    data = tasks.Plain()
    kept = weakref.ref(data)
    process = context.Process(target=kit_tasks.identity, args=(data,))
    process.start()
    del data
    assert kept() is None
    process.join(PATIENCE)


def test_a_connection_is_given_once_along_with_a_closure(context: Context) -> None:
    here, there = context.Pipe(duplex=False)
    item = "sent"
    process = context.Process(target=tasks.call_with, args=(there, lambda end: end.send(item)))
    process.start()
    assert here.poll(PATIENCE)
    assert here.recv() == "sent"
    process.join(PATIENCE)
    for end in (here, there):
        end.close()


def test_a_process_of_the_default_context_takes_a_closure(default: str) -> None:
    queue: Any = polyexec.Queue()
    process = polyexec.Process(target=lambda: queue.put(default))
    assert isinstance(process, multiprocessing.process.BaseProcess)
    process.start()
    assert queue.get(timeout=PATIENCE) == default
    process.join(PATIENCE)
    assert process.exitcode == 0


@pytest.fixture
def chosen() -> Iterator[str]:
    """Choose a default context that none of these tests is about."""
    polyexec.set_start_method("thread", force=True)
    yield "thread"
    polyexec.set_start_method(None, force=True)


def test_the_default_context_is_the_childs_too(context: Context, chosen: str) -> None:
    queue = context.Queue()
    process = context.Process(target=tasks.report_start_method, args=(queue,))
    process.start()
    assert queue.get(timeout=PATIENCE) == chosen
    process.join(PATIENCE)
    queue.close()
    queue.join_thread()


PICKLED = """
import threading
import polyexec

context = polyexec.get_context(METHOD)


class Stateful(context.Process):
    def __init__(self, data):
        super().__init__(target=TARGET, args=(data,))
        self.lock, self.data = threading.Lock(), data

    def __getstate__(self):
        state = self.__dict__.copy()
        del state["lock"]
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.lock = threading.Lock()

    def run(self):
        print(self.lock.locked(), self.data is self._args[0], isinstance(self.data, Data))


class Slotted(context.Process):
    __slots__ = ("slot",)

    def run(self):
        print(self.slot)


class Reduced(context.Process):
    lock = threading.Lock()

    def __init__(self, number):
        super(Reduced, self).__init__(target=TARGET)
        self.number = number

    def __reduce__(self):
        return (Reduced, (self.number + 1,))

    def run(self):
        print(self.number)


class Data:
    pass


if __name__ == "__main__":
    slotted = Slotted(target=TARGET)
    slotted.slot = "slot"
    for process in (Stateful(Data()), slotted, Reduced(1)):
        process.start()
        process.join()
"""


@pytest.mark.parametrize("target", ["None", "lambda: None"])
def test_a_process_is_pickled_as_its_class_wants_it(program: Runner, target: str) -> None:
    if program.method == "fork":
        pytest.skip("nothing is pickled")
    done = program.run(sys.executable, program.write(PICKLED.replace("TARGET", target)))
    assert (done.stdout, done.stderr) == ("False True True\nslot\n2\n", "")


DEFINED = """
import polyexec

context = polyexec.get_context(METHOD)


def work(item):
    print(item)


class Worker(context.Process):
    def run(self):
        print("class")
        super().run()


def make_class():
    class Local(Worker):
        pass
    return Local


if __name__ == "__main__":
    for process in (
        context.Process(target=work, args=("function",)),
        Worker(target=work, args=("argument",)),
        make_class()(target=lambda: work("closure")),
    ):
        process.start()
        process.join()
"""


@pytest.mark.parametrize("how", ["file", "command"])
def test_what_a_program_defines_is_run_wherever_it_comes_from(program: Runner, how: str) -> None:
    if how == "file":
        done = program.run(sys.executable, program.write(DEFINED))
    else:
        done = program.run(sys.executable, "-c", program.source(DEFINED))
    said = "function\nclass\nargument\nclass\nclosure\n"
    assert (done.stdout, done.stderr) == (said, "")


ABANDONED = """
import polyexec as multiprocessing


def say(lock, number):
    with lock:
        print(number, flush=True)


if __name__ == "__main__":
    multiprocessing.set_start_method(METHOD)
    lock = multiprocessing.Lock()
    for number in range(3):
        multiprocessing.Process(target=say, args=(lock, number)).start()
"""


def test_a_program_may_end_before_its_children_have_begun(program: Runner) -> None:
    done = program.run(sys.executable, program.write(ABANDONED))
    assert (sorted(done.stdout.split()), done.stderr) == (["0", "1", "2"], "")


STREAMED = """
import polyexec


class Item:
    pass


def work(queue, item):
    queue.put(isinstance(item, Item))


if __name__ == "__main__":
    context = polyexec.get_context(METHOD)
    queue = context.SimpleQueue()
    process = context.Process(target=work, args=(queue, Item()))
    process.start()
    print(queue.get())
    process.join()
    print(process.exitcode, __file__)
"""


def test_a_program_that_comes_through_a_pipe_has_children(program: Runner) -> None:
    done = program.run(sys.executable, "-", input=program.source(STREAMED))
    assert (done.stdout, done.stderr) == ("True\n0 <stdin>\n", "")
