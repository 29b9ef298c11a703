"""What an archive holds: entries, their kinds, and the limits within which they are read."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from chassis.errors import InvalidArgument

BLOCK: Final = 512
PATH_MAX: Final = 4096
ID_MAX: Final = 2**32 - 2
"""The largest uid or gid: the one above it is chown(2)'s "leave as it is"."""


class Kind(enum.Enum):
    """What an entry makes. The value is its ustar typeflag."""

    FILE = b"0"
    LINK = b"1"
    SYMLINK = b"2"
    CHAR = b"3"
    BLOCK = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


NO_XATTRS: Final[Mapping[bytes, bytes]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of an archive.

    ``size`` is the length of the file's content in bytes, holes included (0 for all but files); ``mtime_ns`` is in
    nanoseconds since the epoch; ``link`` is the target of a hard or symbolic link; ``sparse``, where not None, lists
    (offset, length) of the parts that hold data, ascending and apart from one another.
    """

    name: bytes
    kind: Kind = Kind.FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[bytes, bytes] = field(default_factory=lambda: NO_XATTRS)
    uname: bytes = b""
    gname: bytes = b""
    sparse: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class Limits:
    """What one archive may cost. ``extended`` bounds each PAX header, long name and sparse map (Go's is 1 MiB too)."""

    extended: int = 1 << 20
    entry_bytes: int = 1 << 43
    entries: int = 5_000_000


def bad_archive(message: str) -> InvalidArgument:
    """The error of every fault in an archive's form."""
    return InvalidArgument(f"archive: {message}", reason="BAD_ARCHIVE")


def shown(name: bytes) -> str:
    """``name`` for a message: printable, and not longer than a line."""
    return ascii(name[:120])[1:]


def clean_name(name: bytes) -> bytes:
    """``name`` below a root: no leading slash, no ``.``, no ``..``, no empty part; b"" is the root itself.

    Lexical, as Docker's: ``a/../b`` is ``b``. A name that climbs above the root, or one that the kernel could not
    take, is an error.
    """
    if b"\0" in name or len(name) > PATH_MAX:
        raise bad_archive(f"the name {shown(name)} cannot be a path")
    if b"//" not in name and b"." not in name and name[:1] != b"/" and name[-1:] != b"/":
        return name
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not parts:
                raise bad_archive(f"the name {shown(name)} leaves the root")
            parts.pop()
        else:
            parts.append(part)
    return b"/".join(parts)
