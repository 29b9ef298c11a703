"""Who waits for whom."""

from __future__ import annotations

import asyncio

from netd.gate import Gate


async def test_whoever_is_alone_is_alone_and_newcomers_wait() -> None:
    gate = Gate()
    release, entered = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    async def first() -> None:
        async with gate.shared():
            entered.set()
            await release.wait()
            order.append("first")

    async def alone() -> None:
        async with gate.exclusive():
            order.append("alone")
            await asyncio.sleep(0)
            order.append("alone ended")

    async def later() -> None:
        async with gate.shared():
            order.append("later")

    tasks = [asyncio.create_task(first())]
    await entered.wait()
    tasks.append(asyncio.create_task(alone()))
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(later()))
    await asyncio.sleep(0)
    assert order == []
    release.set()
    await asyncio.gather(*tasks)
    assert order == ["first", "alone", "alone ended", "later"]


async def test_a_waiter_that_is_cancelled_lets_the_others_go_on() -> None:
    gate = Gate()
    async with gate.shared():
        waiting = asyncio.create_task(_alone(gate))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(30), gate.shared():
            pass


async def _alone(gate: Gate) -> None:
    async with gate.exclusive():
        raise AssertionError("somebody is inside")
