"""imaged.gate: what is pinned is not swept; one name, one holder."""

from __future__ import annotations

import asyncio

from chassis.locks import NamedLocks
from imaged.gate import Gate


async def test_a_sweep_sees_every_pin_and_pinning_waits_for_the_sweep() -> None:
    gate = Gate()
    order: list[str] = []

    async def pin() -> None:
        async with gate.pinned(["b"]):
            order.append("pinned")

    async with gate.pinned(["a"]), gate.pinned(["a", "c"]):
        async with gate.sweeping() as pinned:
            assert pinned == {"a", "c"}
            task = asyncio.create_task(pin())
            await asyncio.sleep(0)
            order.append("swept")
        await task
    assert order == ["swept", "pinned"]
    async with gate.sweeping() as pinned:
        assert pinned == frozenset()


async def test_one_name_has_one_holder_and_leaves_nothing_behind() -> None:
    locks = NamedLocks()
    holders = most = 0

    async def work() -> None:
        nonlocal holders, most
        async with locks.hold("x"):
            holders += 1
            most = max(most, holders)
            await asyncio.sleep(0)
            holders -= 1

    async with locks.hold("y"):
        await asyncio.gather(*(work() for _ in range(10)))
    assert most == 1
    assert locks.names() == set()


async def test_a_waiter_that_is_cancelled_does_not_keep_the_name() -> None:
    locks = NamedLocks()
    async with locks.hold("x"):
        task = asyncio.create_task(_hold(locks))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(_hold(locks), 30)
    assert locks.names() == set()


async def _hold(locks: NamedLocks) -> None:
    async with locks.hold("x"):
        pass
