"""What a client sends as its context: compressed in any way, in pieces of any size."""

import bz2
import gzip
import lzma
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildd.context import plain
from chassis.errors import InvalidArgument


class Inline:
    async def run(self, function, *args):
        return function(*args)


STATE: Any = SimpleNamespace(files=Inline())


async def pieces(data, size):
    for at in range(0, len(data), size):
        yield data[at:at + size]


async def through(data, size=7):
    return b"".join([piece async for piece in plain(STATE, pieces(data, size))])


@given(st.binary(max_size=300), st.integers(1, 40))
@settings(max_examples=60)
async def test_bzip2_and_xz_are_decompressed_and_all_else_is_left(data, size):
    for pack in (bz2.compress, lzma.compress):
        assert await through(pack(data), size) == data
    packed = gzip.compress(data)
    assert await through(packed, size) == packed
    if not data.startswith((b"BZh", b"\xfd7zXZ\x00")):
        assert await through(data, size) == data


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
async def test_compressed_data_that_is_cut_short_or_damaged_is_refused(pack):
    packed = pack(bytes(range(256)) * 50)
    for broken in (packed[:-5], packed[:20] + b"\0\0\0\0" + packed[24:]):
        with pytest.raises(InvalidArgument) as caught:
            await through(broken)
        assert caught.value.reason == "BAD_COMPRESSION"


async def test_row_40_a_bomb_is_made_in_pieces_of_bounded_size():
    packed = bz2.compress(bytes(32 << 20))
    largest = total = 0
    async for piece in plain(STATE, pieces(packed, 1 << 20)):
        largest, total = max(largest, len(piece)), total + len(piece)
    assert total == 32 << 20
    assert largest <= 1 << 20
