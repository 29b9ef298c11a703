"""One 512-byte tar header: its checksum, its numbers, its dialect."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from chassis.tar.entry import BLOCK, bad_archive, shown

ZERO: Final = bytes(BLOCK)
_CHECKSUM: Final = slice(148, 156)
_HIGH: Final = bytes(range(128, 256))


class Dialect(enum.Enum):
    V7 = enum.auto()
    USTAR = enum.auto()
    STAR = enum.auto()
    GNU = enum.auto()


@dataclass(slots=True)
class Header:
    """The fields of a header block as they stand in it; PAX records change them before an Entry is made."""

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    typeflag: bytes
    link: bytes
    uname: bytes
    gname: bytes
    device: tuple[int, int]
    dialect: Dialect


def text(raw: bytes) -> bytes:
    """A field that ends with its first NUL or with the field."""
    end = raw.find(b"\0")
    return raw if end < 0 else raw[:end]


def number(raw: bytes) -> int:
    """An octal field, or GNU's base-256 (first bit set, two's complement)."""
    if raw[0] & 0x80:
        value = int.from_bytes(raw, "big") & ((1 << (len(raw) * 8 - 1)) - 1)
        if raw[0] & 0x40:
            value -= 1 << (len(raw) * 8 - 1)
        return value
    digits = text(raw.strip(b" \0")).rstrip(b" ")
    if not digits:
        return 0
    if digits.strip(b"01234567"):
        raise bad_archive(f"the number {shown(raw)} is not octal")
    return int(digits, 8)


def checksum(block: bytes | bytearray) -> int:
    """The sum of the block's bytes, its checksum field taken as spaces."""
    return sum(block) - sum(block[_CHECKSUM]) + 8 * 32


def _signed_checksum(block: bytes) -> int:
    rest = block[:148] + block[156:]
    high = len(rest) - len(rest.translate(None, _HIGH))
    return sum(rest) - 256 * high + 8 * 32


def _dialect(block: bytes) -> Dialect:
    magic = block[257:265]
    if magic == b"ustar  \0":
        return Dialect.GNU
    if magic[:6] == b"ustar\0":
        return Dialect.STAR if block[508:512] == b"tar\0" else Dialect.USTAR
    return Dialect.V7


def parse(block: bytes) -> Header:
    """The header in ``block``, which is not all zeros."""
    told = number(block[_CHECKSUM])
    if told != checksum(block) and told != _signed_checksum(block):
        raise bad_archive("a header's checksum is wrong: this is not a tar archive, or it is damaged")
    dialect = _dialect(block)
    name = text(block[0:100])
    uname = gname = b""
    device = (0, 0)
    if dialect is not Dialect.V7:
        uname, gname = text(block[265:297]), text(block[297:329])
        if block[156:157] in (b"3", b"4"):
            device = (number(block[329:337]), number(block[337:345]))
        if dialect is not Dialect.GNU:
            prefix = text(block[345:476] if dialect is Dialect.STAR else block[345:500])
            if prefix:
                name = prefix + b"/" + name
    return Header(
        name=name, mode=number(block[100:108]), uid=number(block[108:116]), gid=number(block[116:124]),
        size=number(block[124:136]), mtime=number(block[136:148]), typeflag=block[156:157], link=text(block[157:257]),
        uname=uname, gname=gname, device=device, dialect=dialect,
    )


def octal(value: int, width: int) -> bytes:
    """``value`` for a field of ``width`` bytes; the caller has seen that it fits."""
    return b"%0*o\0" % (width - 1, value)


def fits_octal(value: int, width: int) -> bool:
    """Whether ``value`` can stand in an octal field of ``width`` bytes."""
    return 0 <= value < 1 << 3 * (width - 1)


def build(header: Header, prefix: bytes = b"") -> bytes:
    """The ustar block of ``header``, all of whose fields fit."""
    block = bytearray(BLOCK)
    block[0 : len(header.name)] = header.name
    block[100:108] = octal(header.mode, 8)
    block[108:116] = octal(header.uid, 8)
    block[116:124] = octal(header.gid, 8)
    block[124:136] = octal(header.size, 12)
    block[136:148] = octal(header.mtime, 12)
    block[156:157] = header.typeflag
    block[157 : 157 + len(header.link)] = header.link
    block[257:265] = b"ustar\x0000"
    block[265 : 265 + len(header.uname)] = header.uname
    block[297 : 297 + len(header.gname)] = header.gname
    block[329:337] = octal(header.device[0], 8)
    block[337:345] = octal(header.device[1], 8)
    block[345 : 345 + len(prefix)] = prefix
    block[_CHECKSUM] = b"%06o\0 " % checksum(block)
    return bytes(block)
