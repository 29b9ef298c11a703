"""Decompression of layers within a byte cap and a ratio cap, one bounded piece at a time.

The bytes decide what they are, as with Docker: gzip (RFC 1952, several members), zstd (RFC 8878, several frames) or
plain; bzip2 and xz only for whoever asks for every kind. No call makes more than ``_PIECE`` bytes out of its input, so
a bomb costs its cap and no memory.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Final, Protocol, cast

import zstandard
from isal import igzip_lib

from chassis.errors import InvalidArgument, Unimplemented
from chassis.zstd_frames import Frames

_PIECE: Final = 1 << 20
_WINDOW_MAX: Final = 128 << 20
_HEAD: Final = 6
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ISAL_ERROR: Final = cast("type[Exception]", igzip_lib.error)
_XZ: Final = b"\xfd7zXZ\x00"
_BZIP2: Final = b"BZh"
_XZ_MEMORY: Final = 256 << 20
NOT_LAYERS: Final = (_XZ, _BZIP2)
"""How a stream begins that layers do not come as, and archives may."""


@dataclass(frozen=True)
class Caps:
    """What one compressed stream may become: ``output`` bytes at most, and beyond ``ratio_free`` bytes no more than
    ``ratio`` times its input (gzip can reach 1032, real layers 3 to 20; an honest gigabyte of zeros passes)."""

    output: int = 1 << 40
    ratio: int = 500
    ratio_free: int = 1 << 30


def bad(message: str) -> InvalidArgument:
    return InvalidArgument(f"compressed data: {message}", reason="BAD_COMPRESSION")


class _Counted:
    """Chunks with their bytes counted, and a ``read`` for those who want a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._front = b""
        self.total = 0
        self.frames: Frames | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._front:
            chunk, self._front = self._front, b""
        else:
            chunk = next(self._chunks)
        self.total += len(chunk)
        return chunk

    def head(self, length: int) -> bytes:
        """The first bytes, which stay to be read."""
        while len(self._front) < length:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._front += chunk
        return self._front[:length]

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes, b"" at the end (what zstandard asks of a source)."""
        chunk = next(self, b"")
        while not chunk:
            try:
                chunk = next(self)
            except StopIteration:
                return b""
        if 0 < size < len(chunk):
            self.total -= len(chunk) - size
            chunk, self._front = chunk[:size], chunk[size:]
        if self.frames is not None:
            self.frames.feed(chunk)
        return chunk


class Digesting(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class _Member(Protocol):
    """One compressed member of a stream; as igzip_lib, bz2 and lzma have it."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


class Decompressor:
    """The plain bytes of ``chunks``, as an iterator; afterwards ``diff_id`` is their digest, ``total`` their number.

    Raises InvalidArgument: BAD_COMPRESSION for what is damaged or cut short, TOO_LARGE at a cap. bzip2 and xz are
    Unimplemented unless ``every_kind``: layers do not come so. Without ``hashed`` there is no ``diff_id``.
    """

    def __init__(
        self, chunks: Iterable[bytes], caps: Caps | None = None, *, every_kind: bool = False, hashed: bool = True
    ) -> None:
        self._source = _Counted(chunks)
        self._caps = caps or Caps()
        self._every_kind = every_kind
        self._hash: Digesting | None = hashlib.sha256() if hashed else None
        self.total = 0
        self.name = ""
        """gzip, zstd, bzip2, xz or none, once the first piece has come."""

    @property
    def diff_id(self) -> str:
        assert self._hash is not None
        return "sha256:" + self._hash.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces():
            self.total += len(piece)
            if self.total > self._caps.output:
                raise InvalidArgument(f"a layer is larger than {self._caps.output} bytes", reason="TOO_LARGE")
            if self.total > self._caps.ratio_free and self.total > self._caps.ratio * max(self._source.total, 1):
                raise InvalidArgument(f"a layer grew more than {self._caps.ratio}-fold", reason="TOO_LARGE")
            if self._hash is not None:
                self._hash.update(piece)
            yield piece

    def _pieces(self) -> Iterator[bytes]:
        head = self._source.head(_HEAD)
        if head.startswith(_GZIP):
            self.name = "gzip"
            return _members(self._source, self.name, _gzip_member)
        if head.startswith((_XZ, _BZIP2)):
            self.name = "xz" if head.startswith(_XZ) else "bzip2"
            if not self._every_kind:
                raise Unimplemented(f"{self.name} compression is not supported", expected="gzip, zstd or none")
            return _members(self._source, self.name, _xz_member if self.name == "xz" else bz2.BZ2Decompressor)
        if head.startswith(_ZSTD) or _is_skippable(head):
            self.name = "zstd"
            return _unzstd(self._source)
        self.name = "none"
        return self._source


def _is_skippable(head: bytes) -> bool:
    return len(head) >= 4 and int(struct.unpack("<I", head[:4])[0]) & 0xFFFFFFF0 == 0x184D2A50


def _gzip_member() -> _Member:
    return cast("_Member", igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP))


def _xz_member() -> _Member:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def _members(source: _Counted, name: str, make: Callable[[], _Member]) -> Iterator[bytes]:
    member: _Member | None = None
    data = b""
    while True:
        if not data:
            data = source.read()
            if not data:
                break
        if member is None:
            data = data.lstrip(b"\0") if name == "xz" else data  # padding between streams
            if not data:
                continue
            member = make()
        try:
            piece = member.decompress(data, _PIECE)
            while True:
                if piece:
                    yield piece
                if member.eof or member.needs_input:
                    break
                piece = member.decompress(b"", _PIECE)
        except (_ISAL_ERROR, lzma.LZMAError, OSError, ValueError) as error:
            raise bad(f"{name}: {error}") from error
        data = b""
        if member.eof:
            data, member = member.unused_data, None
    if member is not None:
        raise bad(f"{name}: it ends in the middle of a member")


def _unzstd(source: _Counted) -> Iterator[bytes]:
    context = zstandard.ZstdDecompressor(max_window_size=_WINDOW_MAX)
    source.frames = Frames()
    reader = context.stream_reader(cast("IO[bytes]", source), read_across_frames=True)
    while True:
        try:
            piece = reader.read(_PIECE)
        except zstandard.ZstdError as error:
            raise bad(f"zstd: {error}") from error
        if not piece:
            break
        yield piece
    if not source.frames.between:
        raise bad("zstd: it ends in the middle of a frame")
