"""chassis.compression: what comes out, what is refused, and what a bomb costs."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from chassis.compression import Caps, Decompressor
from chassis.errors import InvalidArgument, Unimplemented


def pieces(raw: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(raw), size):
        yield raw[start : start + size]


PACK = {
    "none": lambda raw: raw,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("name", PACK)
@given(content=st.binary(max_size=5000), size=st.integers(1, 600), repeat=st.integers(1, 30))
def test_what_was_packed_comes_out_and_is_digested(name: str, content: bytes, size: int, repeat: int) -> None:
    plain = b"T" + content * repeat
    decompressor = Decompressor(pieces(PACK[name](plain), size))
    assert b"".join(decompressor) == plain
    assert decompressor.name == name
    assert decompressor.total == len(plain)
    assert decompressor.diff_id == "sha256:" + hashlib.sha256(plain).hexdigest()


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_members_and_frames_follow_one_another(name: str) -> None:
    raw = PACK[name](b"a" * 1000) + PACK[name](b"b" * 1000)
    assert b"".join(Decompressor(pieces(raw, 7))) == b"a" * 1000 + b"b" * 1000


def test_nothing_is_nothing() -> None:
    decompressor = Decompressor([])
    assert list(decompressor) == []
    assert decompressor.diff_id == "sha256:" + hashlib.sha256().hexdigest()


@pytest.mark.parametrize("raw", [
    gzip.compress(b"x" * 10_000)[:-1], gzip.compress(b"x" * 10_000)[:-8], gzip.compress(b"x") + b"garbage",
    gzip.compress(b"x" * 100)[:-6] + b"\0" * 6, b"\x1f\x8b\x08" + b"\xff" * 40,
    zstandard.ZstdCompressor().compress(bytes(range(256)) * 100)[:-1], b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\x04",
    zstandard.ZstdCompressor().compress(b"x" * 10_000) + b"garbage", b"\x28\xb5\x2f\xfd" + b"\xff" * 40,
], ids=["cut", "no trailer", "gzip garbage", "wrong checksum", "no gzip", "zstd cut", "zstd magic alone",
        "zstd header cut", "zstd garbage", "no zstd"])
def test_what_is_damaged_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidArgument) as caught:
        b"".join(Decompressor(pieces(raw, 1000)))
    assert caught.value.reason == "BAD_COMPRESSION"


@pytest.mark.parametrize("head, name", [(b"\xfd7zXZ\x00", "xz"), (b"BZh9", "bzip2")])
def test_other_compressions_are_refused_by_name(head: bytes, name: str) -> None:
    with pytest.raises(Unimplemented, match=name):
        list(Decompressor([head + bytes(100)]))


def _bomb(name: str) -> Iterator[bytes]:
    """64 GiB of zeros, packed."""
    one = PACK[name](bytes(64 << 20))
    return (one for _ in range(1024))


@pytest.mark.parametrize("name, caps, message", [
    ("zstd", Caps(), "500-fold"),
    ("gzip", Caps(ratio=200), "200-fold"),
    ("gzip", Caps(output=100 << 20), "larger than 104857600 bytes"),
    ("zstd", Caps(output=100 << 20), "larger than 104857600 bytes"),
])
def test_40_a_bomb_is_refused_at_its_cap_and_costs_no_memory(name: str, caps: Caps, message: str) -> None:
    bomb = _bomb(name)
    tracemalloc.start()
    decompressor = Decompressor(bomb, caps)
    try:
        with pytest.raises(InvalidArgument, match=message) as caught:
            for _ in decompressor:
                pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason == "TOO_LARGE"
    assert decompressor.total <= max(caps.ratio_free, 0) + (1 << 20) or decompressor.total <= caps.output + (1 << 20)
    assert peak < 8 << 20


def test_40_an_honest_file_of_zeros_passes() -> None:
    raw = gzip.compress(bytes(300 << 20), 1)
    assert sum(map(len, Decompressor([raw]))) == 300 << 20


@given(
    parts=st.lists(st.binary(max_size=3000), min_size=1, max_size=4), level=st.integers(1, 19), checksum=st.booleans(),
    sized=st.booleans(), size=st.integers(1, 700), data=st.data(),
)
def test_a_zstd_stream_that_is_cut_anywhere_within_a_frame_is_refused(
    parts: list[bytes], level: int, checksum: bool, sized: bool, size: int, data: st.DataObject
) -> None:
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=checksum, write_content_size=sized)
    frames = [compressor.compress(part * 3) for part in parts]
    ends = {0}
    for frame in frames:
        ends.add(max(ends) + len(frame))
    raw = b"".join(frames)
    cut = data.draw(st.integers(5, len(raw)))
    decompressor = Decompressor(pieces(raw[:cut], size))
    if cut in ends:
        list(decompressor)
    else:
        with pytest.raises(InvalidArgument, match="zstd"):
            list(decompressor)
