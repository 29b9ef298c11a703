"""Bytes of a call's request stream for code that runs in a thread."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Generator
from typing import Final

_AHEAD: Final = 8
"""Messages that are taken from the stream before they are asked for: while one is written the next ones come in."""


def from_thread(loop: asyncio.AbstractEventLoop, stream: AsyncIterator[bytes]) -> Generator[bytes, None, None]:
    """The chunks of ``stream``, for a thread that may wait for them. What the stream raises is raised here.

    Nothing more is taken from the stream once this is closed.
    """
    coming: queue.SimpleQueue[bytes | BaseException | None] = queue.SimpleQueue()
    room = asyncio.Semaphore(_AHEAD)

    async def take() -> None:
        try:
            async for chunk in stream:
                coming.put(chunk)
                await room.acquire()
        except BaseException as error:
            coming.put(error)
            raise
        coming.put(None)

    taking = asyncio.run_coroutine_threadsafe(take(), loop)
    try:
        while (chunk := coming.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            loop.call_soon_threadsafe(room.release)
            yield chunk
    finally:
        taking.cancel()
