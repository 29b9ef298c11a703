"""The files of one log as a single sequence of lines, oldest first: path.N … path.1, path; old ones may be compressed.

A *position* counts the bytes of the whole log from its very beginning, uncompressed, whatever its files are called by
now: each says where it begins (``jsonlog.START``). An open file is read to its end before the next.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

from isal import igzip

from execd.logs.record import parse
from execd.shim.jsonlog import COMPRESSED, START

_BLOCK: Final = 256 << 10
_gzip: Final[Callable[..., object]] = igzip.IGzipFile
_OLD: Final = re.compile(r"\.(\d{1,4})(\.gz)?")


class Part(NamedTuple):
    """One file. ``start`` is its first byte's position, None where the file does not say."""

    path: Path
    start: int | None

    @property
    def is_compressed(self) -> bool:
        return self.path.suffix == COMPRESSED


class LogFiles:
    """A reader. ``position`` is behind the last line that was given out; ``missed`` counts the bytes that rotation had
    taken before they were read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._raw: BinaryIO | None = None
        self._inode = 0
        self._start: int | None = None
        self._read = 0
        self._rest = b""
        self.missed = 0

    @property
    def position(self) -> int:
        return (self._start or 0) + self._read - len(self._rest)

    def begin(self, tail: int | None, since: int | None = None) -> None:
        """Stand before the last ``tail`` records, or before the first from ``since`` (nanoseconds) on, as far as that
        can be told without reading all that lies before; or at the beginning."""
        parts = parts_of(self._path)
        if tail is None:
            part = _part_at(parts, since)
            self._open(part)
            if part is not None and since is not None and not part.is_compressed:
                self._skip(_offset_at(part.path, since))
            return
        left = tail
        for part in reversed(parts):
            offset, found = _last_lines(part, left)
            left -= found
            if left <= 0 or part == parts[0]:
                self._open(part)
                self._skip(offset)
                return
        self._open(None)

    def seek(self, position: int) -> None:
        """Stand at ``position``; where that is gone, at the oldest there is, and ``missed`` says how much is gone."""
        parts = [part for part in parts_of(self._path) if part.start is not None]
        before = [part for part in parts if cast(int, part.start) <= position]
        chosen = before[-1] if before else (parts[0] if parts else None)
        self._open(chosen)
        if chosen is None:
            return
        assert chosen.start is not None
        if chosen.start > position:
            self.missed += chosen.start - position
        else:
            self._skip(position - chosen.start)

    def lines(self) -> Iterator[bytes]:
        """Whole lines until nothing more is there for now."""
        for block in self.blocks():
            yield from block

    def blocks(self) -> Iterator[list[bytes]]:
        """The same in pieces of about a quarter of a mebibyte; ``position`` is behind each."""
        while True:
            if self._file is None:
                parts = parts_of(self._path)
                if not parts:
                    return
                self._open(parts[0])
                continue
            while whole := self._next_block():
                yield whole
            following = self._next()
            if following is None:
                return
            # The writer may have added to it between our last read and its rotation.
            if whole := self._next_block():
                yield whole
                continue
            end = self.position
            self._open(following)
            if self._start is not None and self._start > end:
                self.missed += self._start - end

    def end(self) -> int:
        """The position behind what was written last."""
        try:
            with self._path.open("rb") as file:
                return (_start_of(file.fileno(), self._path) or 0) + os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            return self.position

    def close(self) -> None:
        for file in (self._file, self._raw):
            if file is not None:
                file.close()
        self._file = self._raw = None

    def _next_block(self) -> list[bytes]:
        """Whole lines; empty where the file has no more of them for now."""
        assert self._file is not None
        while block := self._file.read(_BLOCK):
            self._read += len(block)
            *whole, self._rest = (self._rest + block).split(b"\n")
            if whole:
                return whole
        return []

    def _next(self) -> Part | None:
        """The file after the open one; None where that is still the newest."""
        parts = parts_of(self._path)
        if self._start is not None:
            later = [part for part in parts if part.start is not None and part.start > self._start]
            return later[0] if later else None
        for index, part in enumerate(parts):
            try:
                if part.path.stat().st_ino == self._inode:
                    return parts[index + 1] if index + 1 < len(parts) else None
            except FileNotFoundError:
                continue
        return parts[0] if parts else None

    def _open(self, part: Part | None) -> None:
        self.close()
        self._rest, self._read, self._start = b"", 0, None
        while part is not None:
            try:
                raw = FileIO(part.path, "rb", opener=_no_link)
            except FileNotFoundError:
                start = None
            else:
                start = _start_of(raw.fileno(), part.path)
                if start == part.start:
                    self._inode, self._start = os.fstat(raw.fileno()).st_ino, start
                    self._raw = cast(BinaryIO, raw)
                    self._file = cast(BinaryIO, _gzip(fileobj=raw)) if part.is_compressed else self._raw
                    return
                raw.close()
            # It was renamed between the look and the opening.
            wanted = part.start
            parts = parts_of(self._path)
            part = next((other for other in parts if other.start == wanted), parts[0] if parts else None)

    def _skip(self, count: int) -> None:
        """Leave out ``count`` bytes of the file."""
        if self._file is not None:
            self._file.seek(count)
            self._read = count


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)


def parts_of(path: Path) -> list[Part]:
    """The log's files, oldest first. One that is there in both forms counts as what it was."""
    numbered: dict[int, Path] = {}
    for found in path.parent.glob(path.name + ".*"):
        match = _OLD.fullmatch(found.name[len(path.name):])
        if match and not (match[2] and int(match[1]) in numbered):
            numbered[int(match[1])] = found
    parts = []
    for file in [numbered[number] for number in sorted(numbered, reverse=True)] + [path]:
        try:
            parts.append(Part(file, _start_of(None, file)))
        except FileNotFoundError:
            continue
    return parts


def _start_of(fd: int | None, path: Path) -> int | None:
    try:
        return int(os.getxattr(path if fd is None else fd, START))
    except FileNotFoundError:
        raise
    except (OSError, ValueError):
        if fd is None and not path.exists():
            raise FileNotFoundError(path) from None
        return None


def opened(part: Part) -> BinaryIO:
    """Its content, uncompressed."""
    return cast(BinaryIO, _gzip(part.path, "rb")) if part.is_compressed else part.path.open("rb")


def _part_at(parts: list[Part], since: int | None) -> Part | None:
    """The last file that begins before ``since``, or the first of all."""
    if since is not None:
        for part in reversed(parts):
            with opened(part) as file:
                record = parse(file.readline())
            if record is not None and record.time < since:
                return part
    return parts[0] if parts else None


def _offset_at(path: Path, since: int) -> int:
    """Where a line begins behind which everything from ``since`` on lies: times in a log only grow."""
    with path.open("rb") as file:
        low, high = 0, file.seek(0, os.SEEK_END)
        while high - low > _BLOCK:
            middle = (low + high) // 2
            file.seek(middle)
            file.readline()
            line_at = file.tell()
            record = parse(file.readline())
            if line_at >= high or record is None or record.time >= since:
                high = middle
            else:
                low = line_at
        return low


def _last_lines(part: Part, count: int) -> tuple[int, int]:
    """(offset of the last ``count`` lines, how many there are of them)."""
    with opened(part) as file:
        if part.is_compressed:
            return _last_lines_read(file, count)
        position = file.seek(0, os.SEEK_END)
        if count <= 0:
            return position, 0
        newlines = 0
        end = position
        while position > 0:
            step = min(_BLOCK, position)
            position -= step
            file.seek(position)
            block = file.read(step)
            at = len(block)
            while (at := block.rfind(b"\n", 0, at)) >= 0:
                if position + at + 1 == end:
                    continue  # the last line's own
                newlines += 1
                if newlines == count:
                    return position + at + 1, count
        return 0, newlines + (end > 0)


def _last_lines_read(file: BinaryIO, count: int) -> tuple[int, int]:
    """The same of a file that can only be read forwards: twice, so that no more than a block is held."""
    total = 0
    while block := file.read(_BLOCK):
        total += block.count(b"\n")
    if total <= count:
        return 0, total
    file.seek(0)
    offset, left = 0, total - count
    while left:
        block = file.read(_BLOCK)
        there = block.count(b"\n")
        if there < left:
            left -= there
            offset += len(block)
            continue
        at = -1
        for _ in range(left):
            at = block.find(b"\n", at + 1)
        return offset + at + 1, count
    return offset, count
