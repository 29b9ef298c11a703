"""Operations: mutating work that belongs to the service, not to the call that asked for it.

grpc.aio cancels a handler when its client goes away. So a handler only starts or joins an operation and waits for it:
the operation goes on to its end whatever happens to its callers, and a second call under the same key joins the first.

Example: ``await operations.run(f"start:{id}", fingerprint, lambda: self._start(request))``, where the fingerprint is
the request's deterministic serialisation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from chassis.errors import AlreadyExists, Unavailable
from chassis.logs import logger
from chassis.metrics import OPERATIONS

T = TypeVar("T")


@dataclass(frozen=True)
class _Running:
    fingerprint: bytes
    task: asyncio.Task[Any]


class Operations:
    """The operations of one service that have not ended; it owns their tasks."""

    def __init__(self) -> None:
        self._running: dict[str, _Running] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def run(self, key: str, fingerprint: bytes, factory: Callable[[], Awaitable[T]]) -> T:
        """Start ``factory()`` under ``key``, or join the one that runs, and wait for it without owning it.

        AlreadyExists (SPEC_DIFFERS) where one with another fingerprint runs under the key. A caller's cancellation
        cancels the waiting alone.
        """
        running = self._running.get(key)
        if running is not None and running.fingerprint != fingerprint:
            raise AlreadyExists(f"{key}: another request under this id is being carried out", reason="SPEC_DIFFERS")
        if running is None:
            running = _Running(fingerprint, self._start(key, factory))
            self._running[key] = running
        return cast(T, await asyncio.shield(running.task))

    def spawn(self, name: str, factory: Callable[[], Awaitable[object]]) -> asyncio.Task[object]:
        """Start a background task that the service owns: its failure is logged, ``close`` waits for its end."""

        async def work() -> object:
            return await factory()

        task = asyncio.create_task(work(), name=name)
        self._background.add(task)
        task.add_done_callback(self._background_ended)
        return task

    def is_running(self, key: str) -> bool:
        return key in self._running

    def _start(self, key: str, factory: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
        if self._closed:
            raise Unavailable("the service is stopping", reason="STOPPING")

        async def work() -> T:
            return await factory()

        task = asyncio.create_task(work(), name=key)
        OPERATIONS.inc()
        task.add_done_callback(lambda done: self._ended(key, done))
        return task

    def _ended(self, key: str, task: asyncio.Task[Any]) -> None:
        OPERATIONS.dec()
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # told to whoever waits; nobody waiting is no fault

    def _background_ended(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger().error("background task failed", task=task.get_name(), exc_info=error)

    async def close(self, timeout: float = 10.0) -> None:
        """Refuse new operations, wait ``timeout`` seconds for those that run, then cancel them and background tasks."""
        self._closed = True
        tasks = [running.task for running in self._running.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        remaining = [task for task in [*tasks, *self._background] if not task.done()]
        for task in remaining:
            task.cancel()
        await asyncio.gather(*remaining, return_exceptions=True)
