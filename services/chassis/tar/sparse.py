"""Sparse files: where a file's data lies, in GNU's old form and PAX forms 0.0, 0.1, 1.0 (GNU tar manual, "Sparse")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from chassis.tar import header, pax
from chassis.tar.entry import BLOCK, bad_archive

Map = tuple[tuple[int, int], ...]
_NEWLINES_PER_PAIR: Final = 2


def check(pairs: list[tuple[int, int]], real_size: int, stored: int) -> Map:
    """``pairs`` if they ascend, do not overlap, end within ``real_size`` and hold ``stored`` bytes together."""
    end = total = 0
    for offset, length in pairs:
        if offset < end or length < 0 or offset + length > real_size:
            raise bad_archive("a sparse map is out of order or beyond the file's size")
        end = offset + length
        total += length
    if total != stored:
        raise bad_archive("a sparse map does not cover the stored data")
    return tuple(pair for pair in pairs if pair[1])


def old_gnu(block: bytes, take: Callable[[], bytes], limit: int) -> tuple[list[tuple[int, int]], int]:
    """Pairs and real size of a header of type ``S``; ``take`` reads the blocks by which it is extended."""
    pairs: list[tuple[int, int]] = []
    real_size = header.number(block[483:495])
    area, more, cost = block[386:482], block[482], BLOCK
    while True:
        for start in range(0, len(area) - len(area) % 24, 24):
            if not area[start]:
                break
            pairs.append((header.number(area[start : start + 12]), header.number(area[start + 12 : start + 24])))
        if not more:
            return pairs, real_size
        cost += BLOCK
        if cost > limit:
            raise bad_archive("a sparse map is too long")
        block = take()
        area, more = block[:504], block[504]


def is_pax_sparse(records: Mapping[bytes, bytes]) -> bool:
    """Whether PAX records say that the file is sparse."""
    return b"GNU.sparse.map" in records or is_version_1(records)


def is_version_1(records: Mapping[bytes, bytes]) -> bool:
    """Whether the map stands before the data (form 1.0)."""
    return records.get(b"GNU.sparse.major") == b"1" and records.get(b"GNU.sparse.minor") == b"0"


def pax_0(records: Mapping[bytes, bytes]) -> list[tuple[int, int]]:
    """Pairs of forms 0.0 and 0.1."""
    text = records[b"GNU.sparse.map"]
    values = [pax.integer(value) for value in text.split(b",")] if text else []
    if len(values) % 2:
        raise bad_archive("a sparse map has an odd length")
    return list(zip(values[::2], values[1::2], strict=True))


def pax_1(take: Callable[[], bytes], limit: int) -> list[tuple[int, int]]:
    """Pairs of form 1.0; ``take`` reads one block of the data, at whose start they stand."""
    parts = [take()]
    cost, lines = BLOCK, parts[0].count(b"\n")
    if not lines:
        raise bad_archive("a sparse map has no length")
    count = pax.integer(parts[0].split(b"\n", 1)[0])
    while lines < 1 + _NEWLINES_PER_PAIR * count:
        cost += BLOCK
        if cost > limit:
            raise bad_archive("a sparse map is too long")
        block = take()
        lines += block.count(b"\n")
        parts.append(block)
    values = [pax.integer(value) for value in b"".join(parts).split(b"\n")[1 : 1 + _NEWLINES_PER_PAIR * count]]
    return list(zip(values[::2], values[1::2], strict=True))


def build_1(pairs: Map, size: int) -> bytes:
    """The map of form 1.0, padded to whole blocks. A hole at the end is a pair of length 0 (GNU tar needs it)."""
    if not pairs or sum(pairs[-1]) < size:
        pairs = (*pairs, (size, 0))
    text = b"%d\n" % len(pairs) + b"".join(b"%d\n%d\n" % pair for pair in pairs)
    return text + bytes(-len(text) % BLOCK)
