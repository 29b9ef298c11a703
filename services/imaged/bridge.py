"""A call's request stream, for code that runs in a thread, and its end where nobody wants the rest of it."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import AsyncIterator, Iterator
from typing import Final

from imaged.unbroken import cancelled

_AHEAD: Final = 8
"""Messages that are taken from the stream before they are asked for: while one is written the next ones come in."""
_LINGER: Final = 2.0
"""Seconds that a stream is read on for after it is of no use."""


class Incoming:
    """The messages of ``stream``. Made on the event loop, read by one thread, and closed on the loop in any case."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._loop = asyncio.get_running_loop()
        self._coming: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(_AHEAD)
        self._unwanted = False
        self._taking = asyncio.create_task(self._take(stream))

    def chunks(self) -> Iterator[bytes]:
        """For the thread, which may wait. What the stream raises is raised here."""
        while (chunk := self._coming.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            self._loop.call_soon_threadsafe(self._room.release)
            yield chunk

    async def aclose(self) -> None:
        """Pass over what still comes, for a moment, and end."""
        self._unwanted = True
        self._room.release()
        try:
            await asyncio.wait([self._taking], timeout=_LINGER)
        finally:
            await cancelled(self._taking)

    async def _take(self, stream: AsyncIterator[bytes]) -> None:
        try:
            async for chunk in stream:
                if not self._unwanted:
                    self._coming.put(chunk)
                    await self._room.acquire()
        except BaseException as error:
            self._coming.put(error)
            raise
        self._coming.put(None)


async def pass_over(stream: AsyncIterator[bytes]) -> None:
    """Read a stream that is of no use any more, for a moment. A client that is in the middle of a message when its call
    ends is told by gRPC that something is wrong with that, and not what went wrong before."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_LINGER):
            async for _ in stream:
                pass
