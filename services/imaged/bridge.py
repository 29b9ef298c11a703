"""Bytes of a call's request stream for code that runs in a thread, pulled one message at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator


def from_thread(loop: asyncio.AbstractEventLoop, stream: AsyncIterator[bytes]) -> Iterator[bytes]:
    """The chunks of ``stream``, for a thread that may wait for them. What the stream raises is raised here."""
    while True:
        try:
            yield asyncio.run_coroutine_threadsafe(_next(stream), loop).result()
        except _End:
            return


class _End(Exception):
    """A future cannot carry StopAsyncIteration."""


async def _next(stream: AsyncIterator[bytes]) -> bytes:
    try:
        return await anext(stream)
    except StopAsyncIteration:
        raise _End from None

