"""Operations belong to the service: a caller that goes away cancels its waiting and nothing else."""

import asyncio

import pytest

from chassis.errors import AlreadyExists, Unavailable
from chassis.operations import Operations


async def test_the_same_call_again_joins_the_first():
    operations, started, go = Operations(), [], asyncio.Event()

    async def work():
        started.append(True)
        await go.wait()
        return 7

    first = asyncio.create_task(operations.run("start:x", b"1", work))
    second = asyncio.create_task(operations.run("start:x", b"1", work))
    while not started:
        await asyncio.sleep(0)
    go.set()
    assert (await first, await second) == (7, 7)
    assert started == [True]


async def test_another_request_under_a_live_key_is_refused():
    operations, go = Operations(), asyncio.Event()
    first = asyncio.create_task(operations.run("start:x", b"1", go.wait))
    while not operations.is_running("start:x"):
        await asyncio.sleep(0)
    with pytest.raises(AlreadyExists) as caught:
        await operations.run("start:x", b"2", go.wait)
    assert caught.value.reason == "SPEC_DIFFERS"
    go.set()
    await first


async def test_a_cancelled_caller_leaves_the_operation_running():
    operations, go, done = Operations(), asyncio.Event(), asyncio.Event()

    async def work():
        await go.wait()
        done.set()

    caller = asyncio.create_task(operations.run("start:x", b"1", work))
    while not operations.is_running("start:x"):
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go.set()
    async with asyncio.timeout(30):
        await done.wait()


async def test_closing_refuses_new_ones_and_ends_what_does_not_end_itself():
    operations = Operations()
    forever = asyncio.create_task(operations.run("start:x", b"1", asyncio.Event().wait))
    while not operations.is_running("start:x"):
        await asyncio.sleep(0)
    await operations.close(timeout=0)
    with pytest.raises(asyncio.CancelledError):
        await forever
    with pytest.raises(Unavailable):
        await operations.run("start:y", b"1", asyncio.Event().wait)
