"""Layers as tests write them, entry by entry, and a store to unpack them into."""

from __future__ import annotations

import os
from pathlib import Path

import zstandard

from chassis.compression import Caps
from chassis.tar import Entry, Kind, Limits, Writer
from imaged.layers import LayerStore
from imaged.unpack.unpacker import Feed, Unpacker
from imaged.unpack.worker import Unpacked

Member = Entry | tuple[Entry, bytes]
zstd = zstandard.ZstdCompressor().compress


def layer(*members: Member) -> bytes:
    out = bytearray()
    writer = Writer(out.extend)
    for member in members:
        entry, content = member if isinstance(member, tuple) else (member, b"")
        writer.add(entry, [content] if content else [])
    writer.close()
    return bytes(out)


def file(name: str | bytes, content: bytes = b"", **fields: object) -> Member:
    raw = name.encode() if isinstance(name, str) else name
    return Entry(name=raw, size=len(content), **fields), content  # type: ignore[arg-type]


def directory(name: str, mode: int = 0o755, **fields: object) -> Entry:
    return Entry(name=name.encode(), kind=Kind.DIRECTORY, mode=mode, **fields)  # type: ignore[arg-type]


def symlink(name: str, target: str) -> Entry:
    return Entry(name=name.encode(), kind=Kind.SYMLINK, link=target.encode())


def hardlink(name: str, target: str, **fields: object) -> Entry:
    return Entry(name=name.encode(), kind=Kind.LINK, link=target.encode(), **fields)  # type: ignore[arg-type]


class Bench:
    """A store and an unpacker in a temporary directory."""

    def __init__(self, root: Path) -> None:
        self.store = LayerStore(root)
        self.unpacker = Unpacker(root / "lock", caps=Caps(output=4 << 30), limits=Limits(entries=100_000))
        self.root = root
        self.last: Unpacked | None = None

    async def unpack(self, blob: bytes) -> Path:
        source = self.root / "blob"
        source.write_bytes(blob)
        filling = self.store.begin()
        fd = os.open(source, os.O_RDONLY)
        try:
            self.last = await self.unpacker.unpack(fd, filling.fd, Feed(len(blob), whole=True))
        except BaseException:
            self.store.discard(filling)
            raise
        finally:
            os.close(fd)
        os.close(filling.fd)
        return filling.path
