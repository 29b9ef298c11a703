"""The log file in Docker's json-file form, written block by block.

Each line of output is one record ``{"log": "text\\n", "stream": "stdout", "time": "2026-01-02T03:04:05.000000006Z"}``.
A line longer than RECORD_MAX becomes several records of which only the last ends with a newline; so does the rest at
end of output. The time is that of the read that brought the record's last byte.

A block is escaped as a whole: its newlines become a lone surrogate first (which no decoded text holds and no escaping
touches), and then the end of one record and the beginning of the next. That is ten times as fast as a record at a time.

A full disk never stops the container and never loses silently: what cannot be written is counted, the file stays
whole records, and the next block is tried again.

Files. ``path`` is written; rotation makes it ``path.1``, the newest old one. Each says by the attribute START where in
the whole log it begins, in bytes, so that a position in the log outlives renames, and what is missing can be counted.
What is read goes through an *intake* where there is one (see intake): a successor then writes what a killed shim had
read and not written, or not to its end.

Who compresses an old file (``path.1.gz``) exchanges the two under the directory's lock; rotation waits for nobody, it
is put off while the lock is held.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Final

from execd.shim.intake import Intake, NoRoom

READ_SIZE: Final = 65536
RECORD_MAX: Final = 16384
"""Bytes of output in one record, Docker's figure; up to 3 fewer where a UTF-8 sequence would be cut."""
START: Final = "trusted.pier.start"
"""Extended attribute of a log file: bytes of the whole log before its first one, decimal."""
COMPRESSED: Final = ".gz"
_MARK: Final = "\udc0a"
_STREAMS: Final = {1: "stdout", 2: "stderr"}


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nine digits."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


def cut(data: bytes, limit: int = RECORD_MAX) -> int:
    """Where to cut ``data``, which is longer than ``limit``, so that no UTF-8 sequence is torn."""
    at = limit
    while at > limit - 3 and data[at] & 0xC0 == 0x80:
        at -= 1
    return at if data[at] & 0xC0 != 0x80 else limit


def split_long(data: bytes) -> list[bytes]:
    """``data`` in pieces of which each holds whole lines of at most RECORD_MAX bytes, or one partial record."""
    pieces: list[bytes] = []
    start = position = 0
    while len(data) - position > RECORD_MAX:
        newline = data.rfind(b"\n", position, position + RECORD_MAX + 1)
        if newline >= 0:
            position = newline + 1
            continue
        if position > start:
            pieces.append(data[start:position])
        end = position + cut(data[position : position + RECORD_MAX + 1])
        pieces.append(data[position:end])
        start = position = end
    if start < len(data):
        pieces.append(data[start:])
    return pieces


def encode(data: bytes, stream: int, stamp: str, attributes: str = "") -> bytes:
    """``data``, whole lines (the last may lack its newline), as records, each on a line. ``attributes`` is the JSON
    object that each record carries as ``attrs``, or ""."""
    head = '{"log":"'
    more = f',"attrs":{attributes}' if attributes else ""
    tail = f'","stream":"{_STREAMS[stream]}"{more},"time":"{stamp}"}}\n'
    text = data.decode("utf-8", "replace").replace("\n", _MARK)
    body = encode_basestring(text)[1:-1]
    if body.endswith(_MARK):
        whole = head + body[:-1].replace(_MARK, "\\n" + tail + head) + "\\n" + tail
    else:
        whole = head + body.replace(_MARK, "\\n" + tail + head) + tail
    return whole.encode()


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """What of ``data`` makes records, in pieces as ``split_long`` has them, and the line at its end that is not whole.
    The rest of a piece's end is split as the whole was."""
    end = data.rfind(b"\n") + 1
    pieces = split_long(data[:end]) if end else []
    rest = data[end:]
    while len(rest) > RECORD_MAX:
        at = cut(rest)
        pieces.append(rest[:at])
        rest = rest[at:]
    return pieces, rest


class JsonLog:
    """The open log of one container. ``on_loss(bytes, records, error)`` is told of each block that was not written,
    ``on_rotated()`` each time that there is another old file. ``intake`` is where ``take`` reads into."""

    def __init__(
        self, path: str, max_bytes: int, max_files: int, on_loss: Callable[[int, int, str], None],
        attributes: str = "", on_rotated: Callable[[], None] | None = None, intake: Intake | None = None,
    ) -> None:
        self._path = path
        self._attributes = attributes
        self._on_rotated = on_rotated
        self._start = 0
        self._max_bytes = max_bytes
        self._max_files = max(1, max_files)
        self._on_loss = on_loss
        self._partial = {1: b"", 2: b""}
        self._intake = intake
        self._fd = -1
        self._size = 0
        self.lost_bytes = 0
        self.lost_records = 0
        self.last_error = ""
        self._open()
        if intake is None:
            self._mend()

    def resume(self) -> None:
        """Do what a killed predecessor had begun, by what the intake has of it: nothing is missing afterwards, nothing
        there twice. To be called first where there is an intake."""
        intake = self._intake
        if intake is None:
            return
        self._partial = {stream: intake.pending(stream) for stream in self._partial}
        if intake.logging:
            self._go_on(intake, intake.logging)
        self._mend()
        stream, count = intake.found()
        if count:
            stamp = time.time_ns()
            self._log(stream, intake.begin(stream, count, stamp, self._position), stamp)

    def take(self, stream: int, fd: int) -> bytes:
        """Read once from ``fd``, where ``stream`` comes from, and log that: it is returned, b"" at the end of the file.
        OSError is the read's."""
        if self._intake is not None:
            try:
                count = self._intake.receive(stream, fd)
                if not count:
                    return b""
                stamp = time.time_ns()
                data = self._intake.begin(stream, count, stamp, self._position)
                self._log(stream, data, stamp)
                return data[-count:]
            except NoRoom:
                self._intake.close()
                self._intake = None
        data = os.read(fd, READ_SIZE)
        if data:
            self.write(stream, data)
        return data

    def write(self, stream: int, data: bytes) -> None:
        """Log what was read from ``stream`` without an intake; a line not yet ended is kept for the next call."""
        self._log(stream, self._partial[stream] + data, time.time_ns())

    def end(self, stream: int) -> None:
        """``stream`` has ended: its last line is logged although it has no newline."""
        rest = self._partial[stream]
        if rest:
            stamp = time.time_ns()
            if self._intake is not None:
                self._intake.begin(stream, 0, stamp, self._position, final=True)
            self._log(stream, rest, stamp, final=True)

    def close(self) -> None:
        for stream in self._partial:
            self.end(stream)
        if self._intake is not None:
            self._intake.close()
            self._intake = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def _position(self) -> int:
        """Bytes of the whole log."""
        return self._start + self._size

    def _log(self, stream: int, data: bytes, stamp_ns: int, *, final: bool = False) -> None:
        """``data`` begins with what was kept of the stream's last line; ``final``: nothing more of it comes."""
        stamp = timestamp(stamp_ns)
        pieces, rest = split(data)
        if final and rest:
            pieces.append(rest)
            rest = b""
        for piece in pieces:
            self._append(piece, stream, stamp)
            if self._intake is not None:
                self._intake.logged(stream, len(piece), self._position)
        self._partial[stream] = rest

    def _go_on(self, intake: Intake, stream: int) -> None:
        """Log what is pending of ``stream`` as it was begun. Only of the first record may some be in the file."""
        data, final = self._partial[stream], intake.final
        pieces, rest = split(data)
        first = pieces[0] if pieces else rest if final else b""
        if not first:
            return
        if self._completed(encode(first, stream, timestamp(intake.stamp), self._attributes), intake.position):
            intake.logged(stream, len(first), self._position)
            data = data[len(first):]
        self._log(stream, data, intake.stamp, final=final)

    def _completed(self, block: bytes, position: int) -> bool:
        """Write what is missing of ``block`` at ``position``. False where nothing of it is there (any more): it may
        have carried other attributes, before a container was renamed."""
        there = self._position - position
        if there <= 0 or position < self._start:
            return False
        with open(self._path, "rb") as file:
            file.seek(position - self._start)
            written = file.read()
        try:
            if block.startswith(written):
                self._write_all(memoryview(block)[len(written):])
                return True
        except OSError:
            pass
        self._size -= there
        os.ftruncate(self._fd, self._size)
        return False

    def _open(self) -> None:
        fresh = f"{self._path}.new"
        if os.path.exists(fresh) and not os.path.exists(self._path):
            os.rename(fresh, self._path)  # a kill came between the renames of a rotation
        self._fd = self._create(self._path)
        self._size = os.fstat(self._fd).st_size
        self._mark()

    def _create(self, path: str) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def _mark(self) -> None:
        """Say, or learn, where in the log the open file begins."""
        try:
            self._start = int(os.getxattr(self._fd, START))
        except (OSError, ValueError):
            if not self._size:
                _say_start(self._fd, self._start)

    def _mend(self) -> None:
        """A file that a killed predecessor left in the middle of a record ends with a newline again."""
        if self._size:
            with open(self._path, "rb") as file:
                file.seek(self._size - 1)
                if file.read(1) != b"\n":
                    self._size += os.write(self._fd, b"\n")

    def _append(self, data: bytes, stream: int, stamp: str) -> None:
        block = memoryview(encode(data, stream, stamp, self._attributes))
        try:
            if self._max_bytes and self._size and self._size + len(block) > self._max_bytes:
                self._rotate()
            self._write_all(block)
        except OSError as error:
            self._lose(data, error)

    def _write_all(self, block: memoryview) -> None:
        done = 0
        try:
            while done < len(block):
                done += os.write(self._fd, block[done:])
        except OSError:
            if done:
                os.ftruncate(self._fd, self._size)
            raise
        self._size += done

    def _lose(self, data: bytes, error: OSError) -> None:
        records = data.count(b"\n") + (not data.endswith(b"\n"))
        self.lost_bytes += len(data)
        self.lost_records += records
        self.last_error = error.strerror or str(error)
        self._on_loss(len(data), records, self.last_error)

    def _rotate(self) -> None:
        """path.1 is the newest old file. What fails, or is locked, leaves the current file growing: nothing is lost."""
        fresh = f"{self._path}.new"
        start = self._start + self._size
        directory = os.open(os.path.dirname(self._path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fd = self._create(fresh)
            _say_start(fd, start)
            try:
                self._shift()
                os.rename(fresh, self._path)
            except OSError:
                os.close(fd)
                raise
        except OSError:
            return
        finally:
            os.close(directory)
        os.close(self._fd)
        self._fd, self._start, self._size = fd, start, 0
        if self._on_rotated is not None and self._max_files > 1:
            self._on_rotated()

    def _shift(self) -> None:
        """Every old file one further, the oldest is gone; up to the gap that a kill in the middle of it has left."""
        last = self._max_files - 1
        gap = next((index for index in range(1, last) if not self._old(index)), last)
        for path in self._old(gap) if last else ():
            _remove(path)
        for index in range(gap, 1, -1):
            for path in self._old(index - 1):
                os.rename(path, f"{self._path}.{index}{COMPRESSED if path.endswith(COMPRESSED) else ''}")
        if last:
            os.rename(self._path, f"{self._path}.1")

    def _old(self, index: int) -> list[str]:
        """The files that are there of one number: one, or two in the middle of compression."""
        return [path for path in (f"{self._path}.{index}", f"{self._path}.{index}{COMPRESSED}") if os.path.exists(path)]


def _say_start(fd: int, start: int) -> None:
    try:
        os.setxattr(fd, START, str(start).encode())
    except OSError:
        pass  # a file system without such attributes: what needs them says so


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
