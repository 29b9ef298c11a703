"""ADD of a local archive: a file that is a tar, compressed or not, is unpacked where another would be copied to.

What it is its bytes tell. The decompressors are libraries in this process, never programs of the tree's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from chassis.compression import Caps, Decompressor
from chassis.errors import PierError, Unimplemented
from chassis.tar import Limits, Reader
from chassis.tar.extract import Extractor, Rules

_PIECE: Final = 1 << 20


class Archives:
    """Unpacks below ``root`` (a descriptor). ``reserve`` bytes stay free."""

    def __init__(self, root: int, caps: Caps, limits: Limits, reserve: int) -> None:
        self._root = root
        self._caps = caps
        self._limits = limits
        self._reserve = reserve
        self.entries = 0
        self.bytes = 0

    def is_archive(self, fd: int) -> bool:
        """Whether the file begins as a tar with something in it."""
        try:
            return next(iter(self._reader(fd)), None) is not None
        except Unimplemented:
            raise
        except PierError:
            return False

    def unpack(self, fd: int, place: bytes) -> None:
        """Write its entries into the directory that stands at the place. InvalidArgument for one that is broken."""
        reader = self._reader(fd)
        rules = Rules(base=place, whiteouts=False, keep_base=True, for_layer=True)
        extracted = Extractor(self._root, self._reserve, rules).run(reader)
        reader.drain()  # what is cut short behind the archive's end is cut short all the same
        self.entries += extracted.entries
        self.bytes += extracted.size

    def _reader(self, fd: int) -> Reader:
        return Reader(iter(Decompressor(_pieces(fd), self._caps, every_kind=True)), self._limits)


def _pieces(fd: int) -> Iterator[bytes]:
    position = 0
    while part := os.pread(fd, _PIECE, position):
        position += len(part)
        yield part
