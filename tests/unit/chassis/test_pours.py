"""Bytes beside gRPC: offered under a word, taken once."""

import asyncio

import pytest

from chassis import pours
from chassis.errors import InvalidArgument, Unavailable


async def test_what_is_offered_is_taken_and_nothing_is_left(tmp_path):
    async with pours.offered(tmp_path) as offer:
        taken = await pours.take(tmp_path, offer.word, "pour")
        with await offer.taken() as ours:
            await asyncio.get_running_loop().sock_sendall(ours, b"poured")
        with taken:
            assert taken.getblocking()
            assert taken.makefile("rb").read() == b"poured"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["", "../gateway.sock", "0" * 15, "G" * 16, "0" * 16 + "\n", "0" * 17])
async def test_row_46_a_word_is_never_a_path(tmp_path, word):
    with pytest.raises(InvalidArgument):
        await pours.take(tmp_path, word, "pour")


async def test_what_nobody_offers_is_told(tmp_path):
    with pytest.raises(Unavailable) as refused:
        await pours.take(tmp_path, "0" * 16, "pour")
    assert refused.value.reason == "NO_OFFER"
