"""imaged.unbroken: what a thread makes for a cancelled caller is taken back, and never used by two."""

from __future__ import annotations

import asyncio
import threading

import pytest

from chassis.blocking import Pool
from imaged.unbroken import acquire, unbroken


async def test_what_was_made_for_a_cancelled_caller_is_undone() -> None:
    pool = Pool("test-acquire", 2)
    begun, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    undone: list[int] = []

    def make() -> int:
        loop.call_soon_threadsafe(begun.set)
        go.wait()
        return 7

    task = asyncio.create_task(acquire(pool, make, undone.append))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone == [7]
    assert await acquire(pool, lambda: 8, undone.append) == 8
    assert undone == [7]
    pool.close()


async def test_a_cancelled_step_is_carried_out_to_its_end_first() -> None:
    go = asyncio.Event()
    done: list[bool] = []

    async def work() -> None:
        await go.wait()
        done.append(True)

    task = asyncio.create_task(unbroken(work()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [True]


async def test_a_step_that_fails_raises_its_own_error() -> None:
    async def work() -> None:
        raise ValueError("own")

    with pytest.raises(ValueError, match="own"):
        await unbroken(work())
