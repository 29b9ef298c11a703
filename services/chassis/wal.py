"""Whether SQLite's write-ahead log lost transactions that were durable: damage that SQLite itself passes over in
silence.

SQLite reads a log up to the first frame whose checksum is wrong, and forgets what follows. After a crash that is right:
the transaction being written may be torn. With ``synchronous=FULL`` each commit is on disk before the next transaction
begins, so a torn one is the last. A wrong frame with *two* commits of the same log from there on was therefore whole
once: the file has been damaged since, and all that these commits hold would be lost without a word. A wrong frame
within the very last transaction cannot be told from a torn one.

The log is looked at before the database is opened, because a connection that is closed again removes it. 50 µs a page,
and only where a service did not end in order. Source: https://sqlite.org/fileformat2.html#the_write_ahead_log
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

_ORDERS: Final = {0x377F0682: "<", 0x377F0683: ">"}
"""Magic number: the byte order that checksums are made in."""
_HEADER: Final = 32
_FRAME_HEADER: Final = 24
_CERTAIN: Final = 2
_MASK: Final = 0xFFFFFFFF

Sums = tuple[int, int]


@dataclass(frozen=True)
class _Frame:
    """``salt`` is that of the log it belongs to; ``commits``: it is the last of a transaction."""

    salt: bytes
    commits: bool
    sums: Sums
    summed: bytes


def damage(path: Path) -> str:
    """What is wrong with the log at ``path``, "" for nothing (or no log)."""
    try:
        with path.open("rb") as file:
            return _damage(file.read(_HEADER), file)
    except FileNotFoundError:
        return ""


def _damage(header: bytes, file: BinaryIO) -> str:
    if len(header) < _HEADER:
        return ""  # it was being begun
    (magic, _, page_size, _), salt = struct.unpack_from(">4I", header), header[16:24]
    order = _ORDERS.get(magic)
    sums = _summed(header[:24], order, (0, 0)) if order else (0, 0)
    if order is None or sums != struct.unpack_from(">II", header, 24):
        return "the header of its log is not what was written"
    wrong = lost = 0
    for number, frame in enumerate(_frames(file, page_size), start=1):
        if not wrong:
            sums = _summed(frame.summed, order, sums)
            if frame.salt == salt and sums == frame.sums:
                continue
            wrong = number
        lost += frame.salt == salt and frame.commits
    return f"frame {wrong} of its log is not what was written, and {lost} commits stand from there on" if (
        lost >= _CERTAIN
    ) else ""


def _frames(file: BinaryIO, page_size: int) -> Iterator[_Frame]:
    """Those that are there whole. What an earlier life of the log left behind the last one has another salt."""
    while len(head := file.read(_FRAME_HEADER)) == _FRAME_HEADER and len(page := file.read(page_size)) == page_size:
        pages_after, *sums = struct.unpack_from(">I8xII", head, 4)
        yield _Frame(head[8:16], pages_after != 0, (sums[0], sums[1]), head[:8] + page)


def _summed(data: bytes, order: str, sums: Sums) -> Sums:
    one, other = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for even in words:
        one = (one + even + other) & _MASK
        other = (other + next(words) + one) & _MASK
    return one, other
