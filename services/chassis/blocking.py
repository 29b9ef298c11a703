"""Bounded thread pools for what would block the event loop: mount, netlink, nft, fsync, big files.

Each kind of work has a pool of its own, so that a stuck mount never holds up a read of the database.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from chassis.metrics import POOL_BUSY, POOL_QUEUE

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """At most ``size`` threads; calls beyond that wait their turn. Context variables go along, stages nest."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._queue = POOL_QUEUE.labels(name)
        self._busy = POOL_BUSY.labels(name)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` on a thread of the pool. A caller that is cancelled leaves it running to its end."""
        context = contextvars.copy_context()
        work = functools.partial(function, *args, **kwargs)
        self._queue.inc()
        future = self._executor.submit(context.run, self._work, work)
        future.add_done_callback(lambda done: self._queue.dec() if done.cancelled() else None)
        return await asyncio.wrap_future(future)

    def _work(self, work: Callable[[], T]) -> T:
        self._queue.dec()
        self._busy.inc()
        try:
            return work()
        finally:
            self._busy.dec()

    def close(self) -> None:
        """Wait for the calls that run, refuse new ones."""
        self._executor.shutdown(wait=True, cancel_futures=True)
