"""A stream of the loop's, read by a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from imaged.bridge import from_thread


class Source:
    """Gives numbers, and says how many were taken."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.taken = 0
        self._count, self._error = count, error

    async def chunks(self) -> AsyncIterator[bytes]:
        for number in range(self._count):
            self.taken += 1
            yield str(number).encode()
        if self._error is not None:
            raise self._error


async def test_all_chunks_come_in_their_order() -> None:
    loop, source = asyncio.get_running_loop(), Source(100)
    got = await asyncio.to_thread(lambda: list(from_thread(loop, source.chunks())))
    assert got == [str(number).encode() for number in range(100)]


async def test_what_the_stream_raises_is_raised_behind_what_came_before() -> None:
    loop, source, got = asyncio.get_running_loop(), Source(3, ValueError("broken")), list[bytes]()

    def read() -> None:
        got.extend(from_thread(loop, source.chunks()))

    with pytest.raises(ValueError, match="broken"):
        await asyncio.to_thread(read)
    assert got == [b"0", b"1", b"2"]


async def test_a_reader_that_ends_early_takes_only_a_few_more() -> None:
    loop, source = asyncio.get_running_loop(), Source(1000)

    def read() -> bytes:
        with closing(from_thread(loop, source.chunks())) as chunks:
            return next(chunks)

    assert await asyncio.to_thread(read) == b"0"
    for _ in range(100):
        await asyncio.sleep(0)
    assert source.taken < 20
