"""PAX extended header records: ``LENGTH KEY=VALUE\\n`` (POSIX.1-2017 pax, "pax Extended Header")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from chassis.tar.entry import bad_archive, shown

XATTR: Final = b"SCHILY.xattr."
_LENGTH_DIGITS: Final = 20
_NO_NUL: Final = frozenset({b"path", b"linkpath", b"uname", b"gname"})
_SPARSE_0: Final = frozenset({b"GNU.sparse.offset", b"GNU.sparse.numbytes"})
_NS: Final = 10**9
_SECONDS_MAX: Final = 2**55


def parse(raw: bytes) -> dict[bytes, bytes]:
    """The records of one extended header; a later record replaces an earlier one.

    GNU's sparse format 0.0 alone repeats keys: its offsets and lengths are gathered into ``GNU.sparse.map``.
    """
    records: dict[bytes, bytes] = {}
    sparse: list[bytes] = []
    position, end = 0, len(raw)
    while position < end:
        space = raw.find(b" ", position, position + _LENGTH_DIGITS + 1)
        digits = raw[position:space] if space >= 0 else b""
        if not digits.isdigit():
            raise bad_archive("a PAX record has no length")
        stop = position + int(digits)
        if stop > end or stop <= space + 1 or raw[stop - 1] != 0x0A:
            raise bad_archive("a PAX record's length is wrong")
        key, equals, value = raw[space + 1 : stop - 1].partition(b"=")
        if not equals or not key or b"\0" in key or (key in _NO_NUL and b"\0" in value):
            raise bad_archive(f"the PAX record {shown(key)} is not key=value")
        if key in _SPARSE_0:
            wanted = b"GNU.sparse.offset" if len(sparse) % 2 == 0 else b"GNU.sparse.numbytes"
            if key != wanted or b"," in value:
                raise bad_archive("sparse offsets and lengths do not alternate")
            sparse.append(value)
        else:
            records[key] = value
        position = stop
    if sparse:
        records[b"GNU.sparse.map"] = b",".join(sparse)
    return records


def record(key: bytes, value: bytes) -> bytes:
    """One record, whose length counts its own digits."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + len(str(len(body)))
    if len(str(length)) + len(body) != length:
        length += 1
    return b"%d%s" % (length, body)


def build(records: Iterable[tuple[bytes, bytes]]) -> bytes:
    """An extended header's content."""
    return b"".join(record(key, value) for key, value in records)


def integer(value: bytes) -> int:
    """A decimal number, sign allowed."""
    digits = value[1:] if value[:1] == b"-" else value
    if not digits.isdigit() or len(digits) > _LENGTH_DIGITS:
        raise bad_archive(f"the PAX value {shown(value)} is not a number")
    return int(value)


def nanoseconds(value: bytes) -> int:
    """A time in seconds with an optional fraction, as nanoseconds; digits beyond the ninth are cut off (toward 0)."""
    whole, _, fraction = value.partition(b".")
    if (fraction and not fraction.isdigit()) or whole in (b"", b"-"):
        raise bad_archive(f"the PAX time {shown(value)} is not a number")
    seconds = integer(whole)
    part = int(fraction[:9].ljust(9, b"0")) if fraction else 0
    return check_time(seconds * _NS - part if whole[:1] == b"-" else seconds * _NS + part)


def check_time(time_ns: int) -> int:
    """``time_ns`` if a file system could keep it (the years around ±10⁹)."""
    if abs(time_ns) > _SECONDS_MAX * _NS:
        raise bad_archive("a time is out of range")
    return time_ns


def time(time_ns: int) -> bytes:
    """Nanoseconds as PAX writes them: ``-1.5``, ``12``, ``12.000000001``."""
    sign = b"-" if time_ns < 0 else b""
    seconds, part = divmod(abs(time_ns), _NS)
    return b"%s%d.%s" % (sign, seconds, (b"%09d" % part).rstrip(b"0")) if part else b"%s%d" % (sign, seconds)


def xattrs(records: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The extended attributes among ``records`` (star's ``SCHILY.xattr.NAME``, which Docker and GNU tar use)."""
    start = len(XATTR)
    return {key[start:]: value for key, value in records.items() if key.startswith(XATTR) and len(key) > start}
