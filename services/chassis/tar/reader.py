"""The streaming reader: one pass, bounded memory, linear time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from chassis.tar import header, pax, sparse
from chassis.tar.entry import BLOCK, ID_MAX, NO_XATTRS, Entry, Kind, Limits, bad_archive, shown
from chassis.tar.source import Source

_KINDS: Final = {kind.value: kind for kind in Kind} | {b"\0": Kind.FILE, b"7": Kind.FILE, b"S": Kind.FILE}
_PART: Final = 1 << 20


class Reader:
    """The entries of the archive that ``chunks`` make up, in order.

    ``data`` gives the content of the entry that came last; what of it is not read is passed over. After the last entry
    ``drain`` reads the stream to its end, for the one who hashes or counts it on the way.
    """

    def __init__(self, chunks: Iterable[bytes], limits: Limits | None = None) -> None:
        self._source = Source(chunks)
        self._limits = limits or Limits()
        self._stored = 0
        self._padding = 0
        self._map: sparse.Map = ()
        self._size = 0
        self._long_name: bytes | None = None
        self._long_link: bytes | None = None
        self._records: dict[bytes, bytes] = {}

    @property
    def position(self) -> int:
        """Bytes of the archive read so far."""
        return self._source.total

    def __iter__(self) -> Iterator[Entry]:
        count = 0
        while True:
            self._source.skip(self._stored)
            self._source.skip_padding(self._padding)  # `docker build -f` of a file elsewhere ends its archive before it
            self._stored = self._padding = 0
            block = self._source.block(BLOCK)
            if block is None or block == header.ZERO:
                self._end(block)
                return
            count += 1
            if count > self._limits.entries:
                raise bad_archive(f"it has more than {self._limits.entries} entries")
            fields = header.parse(block)
            if not self._take_extension(fields):
                yield self._entry(fields, block)

    def data(self) -> Iterator[tuple[int, memoryview]]:
        """(offset in the file, bytes) of the current entry, in order; between them, and behind, the file is a hole.

        The views are valid until the next is asked for.
        """
        for start, length in self._map:
            offset, end = start, start + length
            while offset < end:
                part = self._source.part(min(end - offset, _PART))
                if not part:
                    raise bad_archive("it ends in the middle of an entry")
                self._stored -= len(part)
                yield offset, part
                offset += len(part)

    def read(self, limit: int) -> bytes:
        """The whole content of the current entry, which must be at most ``limit`` bytes long."""
        if self._size > limit:
            raise bad_archive(f"an entry that must be small is longer than {limit} bytes")
        content = bytearray(self._size)
        for offset, part in self.data():
            content[offset : offset + len(part)] = part
        return bytes(content)

    def drain(self) -> None:
        """Read on to the end of the stream, past the archive's end."""
        self._source.drain()

    def _end(self, block: bytes | None) -> None:
        if self._long_name is not None or self._long_link is not None or self._records:
            raise bad_archive("it ends after an extended header")
        if block is not None:
            second = self._source.block(BLOCK)
            if second is not None and second != header.ZERO:
                raise bad_archive("an entry follows a block of zeros")

    def _take_extension(self, fields: header.Header) -> bool:
        """Read a header that describes the next one; False for one that is an entry."""
        flag = fields.typeflag
        if flag not in (b"x", b"g", b"L", b"K"):
            return False
        if not 0 <= fields.size <= self._limits.extended:
            raise bad_archive(f"an extended header is longer than {self._limits.extended} bytes")
        content = self._source.take(fields.size)
        self._source.skip(-fields.size % BLOCK)
        if flag == b"x":
            self._records = pax.parse(content)
        elif flag == b"L":
            self._long_name = header.text(content)
        elif flag == b"K":
            self._long_link = header.text(content)
        else:
            pax.parse(content)  # a global header must be well formed; Docker applies none of it
        return True

    def _entry(self, fields: header.Header, block: bytes) -> Entry:
        records, self._records = self._records, {}
        if self._long_name is not None:
            fields.name = self._long_name
        if self._long_link is not None:
            fields.link = self._long_link
        self._long_name = self._long_link = None
        mtime_ns = pax.check_time(fields.mtime * 10**9)
        if records:
            mtime_ns = self._apply(fields, records, mtime_ns)
        kind = _KINDS.get(fields.typeflag)
        if kind is None:
            raise bad_archive(f"{shown(fields.name)} has the unknown type {fields.typeflag!r}")
        if kind is Kind.FILE and fields.name.endswith(b"/") and fields.typeflag in (b"0", b"\0"):
            kind = Kind.DIRECTORY
        if not (0 <= fields.uid <= ID_MAX and 0 <= fields.gid <= ID_MAX):
            raise bad_archive(f"{shown(fields.name)} has an owner out of range")
        size, holes = self._content(kind, fields, records, block)
        self._size = size
        return Entry(
            name=fields.name, kind=kind, mode=fields.mode & 0o7777, uid=fields.uid, gid=fields.gid, size=size,
            mtime_ns=mtime_ns, link=fields.link if kind in (Kind.LINK, Kind.SYMLINK) else b"", device=fields.device,
            xattrs=pax.xattrs(records) if records else NO_XATTRS, uname=fields.uname, gname=fields.gname, sparse=holes,
        )

    @staticmethod
    def _apply(fields: header.Header, records: dict[bytes, bytes], mtime_ns: int) -> int:
        # A record with an empty value takes the record away: the header's own field holds.
        if path := records.get(b"path"):
            fields.name = path
        if link := records.get(b"linkpath"):
            fields.link = link
        if uname := records.get(b"uname"):
            fields.uname = uname
        if gname := records.get(b"gname"):
            fields.gname = gname
        if uid := records.get(b"uid"):
            fields.uid = pax.integer(uid)
        if gid := records.get(b"gid"):
            fields.gid = pax.integer(gid)
        if size := records.get(b"size"):
            fields.size = pax.integer(size)
        if mtime := records.get(b"mtime"):
            return pax.nanoseconds(mtime)
        return mtime_ns

    def _content(
        self, kind: Kind, fields: header.Header, records: dict[bytes, bytes], block: bytes
    ) -> tuple[int, sparse.Map | None]:
        """Set what the entry's data is; its size in bytes and, for a sparse file, where the data lies."""
        # As in Go's reader, only files have data: a size in a link's or a directory's header says nothing.
        stored = fields.size if kind is Kind.FILE else 0
        if not 0 <= stored <= self._limits.entry_bytes:
            raise bad_archive(f"{shown(fields.name)} is longer than {self._limits.entry_bytes} bytes")
        self._stored, self._padding = stored, -stored % BLOCK
        self._map = ((0, stored),) if stored else ()
        if kind is not Kind.FILE:
            return 0, None
        if fields.typeflag == b"S":
            pairs, size = sparse.old_gnu(block, lambda: self._source.take(BLOCK), self._limits.extended)
        elif sparse.is_pax_sparse(records):
            pairs, size = self._pax_sparse(fields, records)
        else:
            return stored, None
        if not 0 <= size <= self._limits.entry_bytes:
            raise bad_archive(f"{shown(fields.name)} is longer than {self._limits.entry_bytes} bytes")
        self._map = sparse.check(pairs, size, self._stored)
        return size, self._map

    def _pax_sparse(self, fields: header.Header, records: dict[bytes, bytes]) -> tuple[list[tuple[int, int]], int]:
        fields.name = records.get(b"GNU.sparse.name") or fields.name
        told = records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size")
        size = pax.integer(told) if told else fields.size
        if not sparse.is_version_1(records):
            return sparse.pax_0(records), size
        return sparse.pax_1(self._map_block, self._limits.extended), size

    def _map_block(self) -> bytes:
        if self._stored < BLOCK:
            raise bad_archive("a sparse map is longer than its file")
        self._stored -= BLOCK
        return self._source.take(BLOCK)
