"""The streaming writer: ustar where everything fits, PAX records where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from chassis.errors import InvalidArgument
from chassis.tar import header, pax, sparse
from chassis.tar.entry import BLOCK, Entry, Kind

_NAME, _PREFIX, _OWNER = 100, 155, 32
_SECOND: Final = 10**9
END: Final = bytes(2 * BLOCK)
"""What ends an archive."""


class Writer:
    """Writes an archive through ``write``, in few calls; ``close`` ends it.

    The same entries give the same bytes: nothing of this host, and no time but the entries', goes in.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def add(self, entry: Entry, content: Iterable[bytes] = ()) -> None:
        """Write ``entry`` and its ``content``, as ``pieces`` has them."""
        for piece in self.pieces(entry, content):
            self._write(piece)

    def close(self) -> None:
        """Write the two blocks of zeros that end an archive."""
        self._write(END)

    @classmethod
    def pieces(cls, entry: Entry, content: Iterable[bytes] = ()) -> Iterator[bytes]:
        """The bytes of ``entry`` with its ``content``: the stored bytes alone where ``entry.sparse`` is set, else all.

        ValueError where the content's length is not what the entry says: the archive is then spoilt.
        """
        cls._check(entry)
        front = sparse.build_1(entry.sparse, entry.size) if entry.sparse is not None else b""
        length = sum(length for _, length in entry.sparse) if entry.sparse is not None else entry.size
        yield cls._headers(entry, len(front) + length) + front
        written = 0
        for part in content:
            written += len(part)
            if written > length:
                break
            yield part
        if written != length:
            raise ValueError(f"{entry.name!r}: {written} bytes of content where {length} were announced")
        if padding := -length % BLOCK:
            yield bytes(padding)

    @staticmethod
    def _check(entry: Entry) -> None:
        if b"\0" in entry.name or b"\0" in entry.link or not entry.name:
            raise InvalidArgument(f"archive: {entry.name!r} cannot be a path", reason="BAD_ARCHIVE")
        # GNU tar pads each part to whole blocks, Go's reader does not: only whole blocks mean the same to both.
        if entry.sparse is not None and any(length % BLOCK for _, length in entry.sparse[:-1]):
            raise ValueError(f"{entry.name!r}: only the last part of a sparse file may end within a block")
        if any(b"=" in key or b"\0" in key or not key for key in entry.xattrs):
            raise InvalidArgument(f"archive: {entry.name!r} has an xattr that PAX cannot name", reason="BAD_ARCHIVE")
        if entry.kind is not Kind.FILE and (entry.size or entry.sparse is not None):
            raise ValueError(f"{entry.name!r}: only files have content")

    @classmethod
    def _headers(cls, entry: Entry, stored: int) -> bytes:
        records: list[tuple[bytes, bytes]] = []
        name, prefix = cls._split(entry, records)
        fields = header.Header(
            name=name, mode=entry.mode & 0o7777, uid=entry.uid, gid=entry.gid, size=stored,
            mtime=entry.mtime_ns // _SECOND, typeflag=entry.kind.value, link=entry.link, uname=entry.uname,
            gname=entry.gname, device=entry.device if entry.kind in (Kind.CHAR, Kind.BLOCK) else (0, 0),
            dialect=header.Dialect.USTAR,
        )
        if entry.sparse is not None:
            records += [
                (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", entry.name),
                (b"GNU.sparse.realsize", b"%d" % entry.size),
            ]
        cls._spill(fields, entry, records)
        if not records:
            return header.build(fields, prefix)
        if any(not _is_utf8(value) for key, value in records if not key.startswith(pax.XATTR)):
            records.insert(0, (b"hdrcharset", b"BINARY"))
        body = pax.build(records)
        extended = header.Header(
            name=b"PaxHeaders.0/" + fields.name[:80], mode=0o644, uid=0, gid=0, size=len(body), mtime=0, typeflag=b"x",
            link=b"", uname=b"", gname=b"", device=(0, 0), dialect=header.Dialect.USTAR,
        )
        return header.build(extended) + body + bytes(-len(body) % BLOCK) + header.build(fields, prefix)

    @staticmethod
    def _split(entry: Entry, records: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
        """The name and prefix fields; a name that they cannot hold goes into ``records`` and is shortened."""
        name = entry.name
        if entry.kind is Kind.DIRECTORY and not name.endswith(b"/"):
            name += b"/"
        # A file's name that ends with a slash would be read as a directory's: nothing could give it back.
        if entry.kind is Kind.FILE and name.endswith(b"/"):
            raise InvalidArgument(f"archive: {name!r} is no file's name", reason="BAD_ARCHIVE")
        if name.isascii() and len(name) <= _NAME:
            return name, b""
        if name.isascii():
            slash = name.rfind(b"/", 0, _PREFIX + 1)
            if slash > 0 and 0 < len(name) - slash - 1 <= _NAME:
                return name[slash + 1 :], name[:slash]
        records.append((b"path", name))
        return name[:_NAME], b""

    @staticmethod
    def _spill(fields: header.Header, entry: Entry, records: list[tuple[bytes, bytes]]) -> None:
        """Move into ``records`` what does not fit its field."""
        if len(fields.link) > _NAME or not fields.link.isascii():
            records.append((b"linkpath", fields.link))
            fields.link = fields.link[:_NAME]
        for key in (b"uname", b"gname"):
            value: bytes = getattr(fields, key.decode())
            if len(value) > _OWNER or not value.isascii():
                records.append((key, value))
                setattr(fields, key.decode(), b"")
        for key, width in ((b"uid", 8), (b"gid", 8), (b"size", 12)):
            number: int = getattr(fields, key.decode())
            if not header.fits_octal(number, width):
                records.append((key, b"%d" % number))
                setattr(fields, key.decode(), 0)
        if entry.mtime_ns % _SECOND or not header.fits_octal(fields.mtime, 12):
            records.append((b"mtime", pax.time(entry.mtime_ns)))
            fields.mtime = fields.mtime if header.fits_octal(fields.mtime, 12) else 0
        records += [(pax.XATTR + key, value) for key, value in sorted(entry.xattrs.items())]


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
