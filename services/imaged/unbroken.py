"""Steps that a cancellation does not break: a thread that works on files cannot be stopped, so it is waited for.

Without that, what a cancelled caller cleans up would be in use by a thread still, or made by it a moment later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from chassis.blocking import Pool

T = TypeVar("T")


async def unbroken(work: Awaitable[T]) -> T:
    """Carry ``work`` out to its end; a cancellation meanwhile is raised afterwards."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await end_of(task)
        raise


async def acquire(pool: Pool, make: Callable[[], T], undo: Callable[[T], object]) -> T:
    """What ``make`` makes, in a thread; where the caller is cancelled meanwhile, ``undo`` takes it back first."""
    task = asyncio.ensure_future(pool.run(make))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await end_of(task)
        if not task.cancelled() and task.exception() is None:
            await end_of(asyncio.ensure_future(pool.run(undo, task.result())))
        raise


async def cancelled(task: asyncio.Future[T]) -> None:
    """Cancel ``task`` and wait until it has ended; what it raises is not."""
    task.cancel()
    await end_of(task)


async def end_of(task: asyncio.Future[T]) -> None:
    """Wait until ``task`` has ended, whatever happens to the caller meanwhile; what it raises is not."""
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue  # it is known already, and raised by the caller
    if not task.cancelled():
        task.exception()
