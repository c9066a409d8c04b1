"""A tutorial of multiprocessing and concurrent.futures, run on every context that has processes.

Each lesson is one that their documentation teaches, with polyexec in the place of both.
"""

from __future__ import annotations

import concurrent.futures
import http.server
import threading
from typing import TYPE_CHECKING, Any

import pytest

import polyexec as multiprocessing
from polyexec.pool import ThreadPool
from tutorial import lessons

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIMES = [112272535095293, 112582705942171, 115280095190773, 115797848077099, 1099726899285419]

pytestmark = pytest.mark.usefixtures("method")


# -- Process -------------------------------------------------------------------------------------


def test_a_process_runs_a_function() -> None:
    said: Any = multiprocessing.Queue()
    process = multiprocessing.Process(target=lessons.greet, args=("bob", said))
    process.start()
    process.join()
    assert said.get() == "hello bob"
    assert process.exitcode == 0


def test_a_process_has_a_name() -> None:
    said: Any = multiprocessing.Queue()
    process = multiprocessing.Process(target=lessons.report, args=(said,), name="worker")
    process.start()
    process.join()
    assert said.get() == "worker"


def test_processes_run_side_by_side() -> None:
    said: Any = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=lessons.greet, args=(name, said)) for name in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(said.get() for _ in processes) == ["hello a", "hello b", "hello c"]


# -- contexts and start methods ------------------------------------------------------------------


def test_the_start_method_is_set_once(method: str) -> None:
    assert multiprocessing.get_start_method() == method
    assert method in multiprocessing.get_all_start_methods()
    with pytest.raises(RuntimeError, match="already been set"):
        multiprocessing.set_start_method(method)


def test_a_context_has_the_api_of_the_module(method: str) -> None:
    ctx = multiprocessing.get_context(method)
    said = ctx.Queue()
    process = ctx.Process(target=lessons.greet, args=("context", said))
    process.start()
    assert said.get() == "hello context"
    process.join()


# -- exchanging objects --------------------------------------------------------------------------


def test_a_queue_links_producer_and_consumer() -> None:
    items: Any = multiprocessing.Queue()
    results: Any = multiprocessing.Queue()
    processes = [
        multiprocessing.Process(target=lessons.produce, args=(items,)),
        multiprocessing.Process(target=lessons.double_from, args=(items, results)),
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [results.get() for _ in range(5)] == [0, 2, 4, 6, 8]


def test_a_pipe_has_two_ends() -> None:
    parent, child = multiprocessing.Pipe()
    process = multiprocessing.Process(target=lessons.answer, args=(child,))
    process.start()
    assert parent.recv() == [42, None, "hello"]
    process.join()


# -- synchronising -------------------------------------------------------------------------------


def test_a_lock_lets_one_speak_at_a_time() -> None:
    lock = multiprocessing.Lock()
    said: Any = multiprocessing.Queue()
    for number in range(10):
        multiprocessing.Process(target=lessons.say, args=(lock, number, said)).start()
    assert sorted(said.get() for _ in range(10)) == list(range(10))


def test_a_lock_keeps_a_balance_right() -> None:
    balance, lock = multiprocessing.Value("i", 200), multiprocessing.Lock()
    processes = [
        multiprocessing.Process(target=lessons.deposit, args=(balance, lock)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert balance.value == 500


# -- sharing state -------------------------------------------------------------------------------


def test_value_and_array_are_shared() -> None:
    number, array = multiprocessing.Value("d", 0.0), multiprocessing.Array("i", range(10))
    process = multiprocessing.Process(target=lessons.change, args=(number, array))
    process.start()
    process.join()
    assert number.value == pytest.approx(3.1415927)
    assert array[:] == [-n for n in range(10)]


def test_a_manager_holds_shared_objects() -> None:
    with multiprocessing.Manager() as manager:
        mapping, sequence = manager.dict(), manager.list(range(10))
        process = multiprocessing.Process(target=lessons.fill, args=(mapping, sequence))
        process.start()
        process.join()
        assert dict(mapping) == {1: "1", "2": 2, 0.25: None}
        assert list(sequence) == [*reversed(range(10))]


def test_a_namespace_has_attributes() -> None:
    with multiprocessing.Manager() as manager:
        namespace = manager.Namespace()
        namespace.x, namespace.y = 10, "hello"
        assert (namespace.x, namespace.y) == (10, "hello")


# -- Pool ----------------------------------------------------------------------------------------


def test_a_pool_maps_in_order_or_as_they_come() -> None:
    with multiprocessing.Pool(processes=4) as pool:
        assert pool.map(lessons.square, range(10)) == [n * n for n in range(10)]
        assert sorted(pool.imap_unordered(lessons.square, range(10))) == [n * n for n in range(10)]


def test_a_pool_evaluates_one_call() -> None:
    with multiprocessing.Pool(processes=2) as pool:
        result = pool.apply_async(lessons.square, (20,))
        assert result.get(timeout=60) == 400


def test_waiting_for_a_pools_result_times_out() -> None:
    with multiprocessing.Pool(processes=1) as pool:
        result = pool.apply_async(lessons.slow_square, (2, 0.5))
        with pytest.raises(multiprocessing.TimeoutError):
            result.get(timeout=0.01)
        assert result.get(timeout=60) == 4


def test_a_pool_of_threads() -> None:
    with ThreadPool(3) as pool:
        results = pool.imap(lessons.square, range(5))
        assert results.next(timeout=60) == 0
        assert list(results) == [1, 4, 9, 16]


# -- Executor and Future -------------------------------------------------------------------------


def test_an_executor_checks_primes(method: str) -> None:
    with multiprocessing.get_context(method).Executor() as executor:
        checked = dict(zip(PRIMES, executor.map(lessons.is_prime, PRIMES), strict=True))
    assert checked == {**dict.fromkeys(PRIMES, True), 1099726899285419: False}


@pytest.fixture
def site() -> Iterator[str]:
    """Serve pages that contain their own path."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_executor_fetches_urls(method: str, site: str) -> None:
    urls = [f"{site}/a", f"{site}/b", "http://127.0.0.1:1/"]  # where nobody listens
    pages: dict[str, object] = {}
    with multiprocessing.get_context(method).Executor(max_workers=3) as executor:
        futures: dict[concurrent.futures.Future[bytes], str] = {
            executor.submit(lessons.load, url, 60): url for url in urls
        }
        for future in concurrent.futures.as_completed(futures):
            try:
                pages[futures[future]] = future.result()
            except OSError as error:
                pages[futures[future]] = type(error).__name__
    assert pages == {urls[0]: b"/a", urls[1]: b"/b", urls[2]: "URLError"}


def test_a_future_tells_how_its_call_goes(method: str) -> None:
    ended = threading.Event()
    with multiprocessing.get_context(method).Executor(max_workers=1) as executor:
        future = executor.submit(lessons.slow_square, 12, 0.1)
        future.add_done_callback(lambda _: ended.set())
        assert not future.cancelled()
        assert future.result(timeout=60) == 144
        assert future.done()
        assert future.exception() is None
        assert not future.cancel()
    assert ended.is_set()


def test_waiting_for_the_first_of_several_futures(method: str) -> None:
    with multiprocessing.get_context(method).Executor(max_workers=2) as executor:
        futures = [executor.submit(lessons.slow_square, n, n / 5) for n in range(2)]
        first = concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_COMPLETED)
        assert first.done
        everything = concurrent.futures.wait(futures)
    assert not everything.not_done
