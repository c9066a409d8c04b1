"""From coroutines: await, gather, amap."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, TypeVar

import pytest

from polyexec.testing import tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from polyexec import Context, Executor
    from polyexec.testing._gate import Gate

T = TypeVar("T")


def _run(coroutine: Coroutine[None, None, T], patience: float) -> T:
    async def limited() -> T:
        return await asyncio.wait_for(coroutine, patience)

    return asyncio.run(limited())


def test_a_future_can_be_awaited(executor: Executor, patience: float) -> None:
    async def main() -> int:
        return await executor.submit(tasks.square, 7)

    assert _run(main(), patience) == 49


def test_an_awaited_task_raises_its_error(executor: Executor, patience: float) -> None:
    async def main() -> None:
        await executor.submit(tasks.fail, "oops")

    with pytest.raises(ValueError, match="oops"):
        _run(main(), patience)


def test_the_loop_runs_executors_tasks(executor: Executor, patience: float) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, tasks.square, n) for n in range(10)]
        return await asyncio.gather(*calls)

    assert _run(main(), patience) == [n * n for n in range(10)]


@pytest.mark.parametrize("ordered", [True, False])
def test_amap_gives_all_results(executor: Executor, patience: float, ordered: bool) -> None:  # noqa: FBT001 - a parameter of the test
    async def main() -> list[int]:
        return [r async for r in executor.amap(tasks.square, range(100), ordered=ordered)]

    assert sorted(_run(main(), patience)) == [n * n for n in range(100)]


def test_amap_takes_asynchronous_and_endless_inputs(executor: Executor, patience: float) -> None:
    async def inputs() -> AsyncIterator[int]:
        for number in itertools.count():
            await asyncio.sleep(0)
            yield number

    async def main() -> list[int]:
        results = []
        async for result in executor.amap(pow, inputs(), itertools.repeat(2)):
            results.append(result)
            if len(results) == 100:
                break
        return results

    assert _run(main(), patience) == [n * n for n in range(100)]


def test_amap_raises_an_error_in_its_place(executor: Executor, patience: float) -> None:
    async def main() -> list[int]:
        results = executor.amap(tasks.fail_on, itertools.repeat(5), range(10))
        before = [await anext(results) for _ in range(5)]
        with pytest.raises(ValueError, match="bad 5"):
            await anext(results)
        return before

    assert _run(main(), patience) == [0, 1, 2, 3, 4]


def test_back_pressure_never_blocks_the_loop(context: Context, gate: Gate, patience: float) -> None:
    async def main() -> list[str]:
        first = await executor.asubmit(tasks.pass_gate, gate.address)
        second = asyncio.ensure_future(executor.asubmit(tasks.pass_gate, gate.address))
        await asyncio.sleep(0)
        assert not second.done()
        gate.open()
        return [await first, await (await second)]

    with context.Executor(1, max_pending=1) as executor:
        assert _run(main(), patience) == ["", ""]
