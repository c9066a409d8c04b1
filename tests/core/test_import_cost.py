"""What importing polyexec costs, and what it brings."""

from __future__ import annotations

import importlib
import multiprocessing

import pytest

import polyexec
from core.fakes import python


def _loaded(code: str, *modules: str) -> set[str]:
    """Return which of *modules*, or their submodules, *code* loads."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = python(code)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split()) & set(modules)


def test_importing_polyexec_loads_no_zmq_cloudpickle_multiprocessing_or_backend() -> None:
    heavy = ("zmq", "cloudpickle", "multiprocessing", "numpy", "polyexec_thread", "polyexec_zmq")
    assert _loaded("import polyexec", *heavy, "polyexec_process", "click", "rich") == set()


def test_the_thread_context_loads_neither_zmq_nor_cloudpickle() -> None:
    code = """
        import polyexec
        with polyexec.get_context("thread").Executor(1) as executor:
            executor.submit(int).result()
            list(executor.map(abs, range(9), chunksize=3))
    """
    assert (
        _loaded("exec('''" + code.replace("\n        ", "\n") + "''')", "zmq", "cloudpickle")
        == set()
    )


def test_looking_at_what_is_there_imports_no_backend() -> None:
    code = "import polyexec; polyexec.available_contexts(); polyexec.get_all_start_methods()"
    heavy = ("zmq", "cloudpickle", "multiprocessing", "polyexec_thread", "polyexec_zmq")
    assert _loaded(code, *heavy, "polyexec_process") == set()


@pytest.mark.parametrize("name", polyexec.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(polyexec, name) is not None
    assert name in dir(polyexec)


@pytest.mark.parametrize("package", ["serialization", "surroundings"])
def test_every_name_of_a_package_that_loads_them_late_resolves(package: str) -> None:
    module = importlib.import_module(f"polyexec.{package}")
    for name in module.__all__:
        assert getattr(module, name).__doc__
    with pytest.raises(AttributeError, match=rf"'polyexec.{package}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018 - the point


def test_the_public_names_are_sorted_and_single() -> None:
    names = polyexec.__all__
    assert len(names) == len(set(names))
    assert sorted(names, key=str.lower) == sorted(sorted(names), key=str.lower)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        polyexec.nothing  # noqa: B018 - the point


@pytest.mark.parametrize("name", sorted(set(multiprocessing.__all__) - {"reducer", "context"}))
def test_every_name_of_multiprocessing_is_there(name: str) -> None:
    assert hasattr(polyexec, name)


@pytest.mark.parametrize(
    "name",
    ["connection", "managers", "pool", "process", "queues", "shared_memory", "sharedctypes"],
)
def test_every_submodule_resolves_as_attribute_and_by_import(name: str) -> None:
    code = f"import polyexec as multiprocessing; print(multiprocessing.{name}.__name__)"
    assert python(code).stdout.strip() == f"polyexec.{name}"
    module = importlib.import_module(f"polyexec.{name}")
    assert all(hasattr(module, public) for public in getattr(module, "__all__", ()))


@pytest.mark.parametrize(
    "name", ["connection", "managers", "pool", "process", "queues", "sharedctypes"]
)
def test_submodules_have_the_names_of_multiprocessings(name: str) -> None:
    theirs = importlib.import_module(f"multiprocessing.{name}")
    ours = importlib.import_module(f"polyexec.{name}")
    public = {each for each in dir(theirs) if not each.startswith("_")}
    assert {each for each in public if not hasattr(ours, each)} == set()


@pytest.mark.parametrize(
    "name", ["AuthenticationError", "BufferTooShort", "ProcessError", "TimeoutError"]
)
def test_multiprocessings_exceptions_are_its_own(name: str) -> None:
    assert getattr(polyexec, name) is getattr(multiprocessing, name)


def test_it_can_stand_in_for_multiprocessing() -> None:
    code = """
        import polyexec as multiprocessing
        from polyexec.pool import ThreadPool
        multiprocessing.set_start_method("thread")

        def work(queue):
            queue.put(multiprocessing.current_process().name)

        queue = multiprocessing.Queue()
        process = multiprocessing.Process(target=work, args=(queue,), name="child")
        process.start()
        process.join()
        with multiprocessing.Pool(2) as pool:
            print(queue.get(), process.exitcode, pool.map(abs, [-1]))
        with multiprocessing.Manager() as manager:
            print(manager.list([1]))
        try:
            pool.apply_async(int)
        except ValueError:
            print(multiprocessing.cpu_count() > 0)
    """
    done = python(code)
    assert (done.stdout.splitlines(), done.stderr) == (["child 0 [1]", "[1]", "True"], "")


def test_a_subclass_of_process_follows_a_later_choice() -> None:
    code = """
        import polyexec

        class Mine(polyexec.Process):
            def run(self):
                import threading
                print(threading.current_thread().name)

        polyexec.set_start_method("thread")
        mine = Mine(name="mine")
        mine.start()
        mine.join()
    """
    done = python(code)
    assert (done.stdout, done.stderr) == ("mine\n", "")


def test_names_bound_before_the_choice_follow_it() -> None:
    code = """
        from polyexec import Lock, get_start_method, set_start_method
        set_start_method("thread")
        print(type(Lock()).__module__, get_start_method())
    """
    assert python(code).stdout.split() == ["polyexec_thread._sync", "thread"]
