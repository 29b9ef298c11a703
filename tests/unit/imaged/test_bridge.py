"""A stream of the loop's, read by a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from imaged.bridge import Incoming, pass_over


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
    async with aclosing(Incoming(Source(100).chunks())) as incoming:
        got = await asyncio.to_thread(lambda: list(incoming.chunks()))
    assert got == [str(number).encode() for number in range(100)]


async def test_what_the_stream_raises_is_raised_behind_what_came_before() -> None:
    got: list[bytes] = []
    async with aclosing(Incoming(Source(3, ValueError("broken")).chunks())) as incoming:
        with pytest.raises(ValueError, match="broken"):
            await asyncio.to_thread(lambda: got.extend(incoming.chunks()))
    assert got == [b"0", b"1", b"2"]


async def test_a_reader_that_is_behind_holds_the_stream_up_and_one_that_ends_has_the_rest_passed_over() -> None:
    source = Source(1000)
    async with aclosing(Incoming(source.chunks())) as incoming:
        assert await asyncio.to_thread(lambda: next(iter(incoming.chunks()))) == b"0"
        for _ in range(100):
            await asyncio.sleep(0)
        assert source.taken < 20
    assert source.taken == 1000


async def test_what_is_of_no_use_is_read_to_its_end_whatever_that_is() -> None:
    for source in (Source(100), Source(100, ValueError("broken"))):
        await pass_over(source.chunks())
        assert source.taken == 100
