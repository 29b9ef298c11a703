"""What a shim has read and not yet logged, in a file that outlives it: a successor goes on where a killed one stood.

The file is mapped, and reads go straight into it: the kernel has put the bytes there before a kill can come between.
Who then finds them needs to know four things, which the *head* tells: which stream was being read, which bytes of each
stream are *pending* (read, not in the log), as of which time they are logged, and where the log ended before. Records
are made of nothing else, so that a successor makes the same ones, and writes those bytes of them that are not there.

Each stream has a *region*. Bytes are pending from ``start`` to ``end``; behind them, up to ``room``, all is BLANK
before a read is begun. How much a read has brought that was killed before it could be told is seen by that. BLANK
occurs in no UTF-8 text: only output of that very byte, at the very end of such a read, would be taken for nothing.

The head is written to the slot that does not count, and one byte makes it count. ``room`` grows with the output, by
writes: a full file system is an error then, where a mapping's would be a signal.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Final

BLANK: Final = b"\xc1"
REST_MAX: Final = 16384
"""Bytes of a line that has not ended, at most: jsonlog.RECORD_MAX."""
_MAGIC: Final = b"PIERIN1"
_SLOTS: Final = (64, 192)
_HEAD: Final = struct.Struct("=QQQQQ6Q")
_HEAD_SIZE: Final = 4096
_ROOM_FIRST: Final = 4096
_REGION: Final = REST_MAX + _ROOM_FIRST
"""Bytes, and what one read brings at most. Larger ones are slower: 64 KiB, most often, by a third. The records made of
them are so large that the allocator takes each from the kernel and gives it back, in pages that have to be cleared."""
_SIZE: Final = _HEAD_SIZE + 2 * _REGION
_ROOM_LEAST: Final = 1024
_blank: Final = memoryview(BLANK * _REGION)


class NoRoom(Exception):
    """The run directory's file system is full."""


class Intake:
    """One container's. ``logging`` is the stream whose pending bytes are being logged as of ``stamp`` (nanoseconds
    since 1970), all of them where ``final``, into a log that ended at ``position`` (bytes of the whole log) before."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._memory: mmap.mmap | None = None
        self._view = memoryview(b"")
        self._slot = 0
        self._reading = 0
        self.logging = 0
        self.final = False
        self.stamp = 0
        self.position = 0
        self._start = [0, 0, 0]
        self._end = [0, 0, 0]
        self._room = [0, 0, 0]
        self._filled = 0
        if os.path.exists(path):
            self._open()

    def receive(self, stream: int, fd: int) -> int:
        """Read once from ``fd``: how many bytes came, 0 at its end. They are pending when ``begin`` says so. NoRoom,
        and what reads raise."""
        if self._memory is None:
            self._open()
        self._clear(stream)
        self._grow(stream)
        self._reading = stream
        self._tell()
        at = _offset(stream)
        room = self._view[at + self._end[stream] : at + self._room[stream]]
        count = os.readv(fd, [room])
        self._filled = stream if count == len(room) else 0
        return count

    def found(self) -> tuple[int, int]:
        """(stream, bytes) of the read that a killed predecessor was in; 0 bytes where it was in none."""
        stream = self._reading
        at = _offset(stream)
        area = bytes(self._view[at + self._end[stream] : at + self._room[stream]]) if stream else b""
        return stream, len(area.rstrip(BLANK))

    def begin(self, stream: int, count: int, stamp: int, position: int, *, final: bool = False) -> bytes:
        """``count`` bytes more are pending, and now all of them are logged: what they are. See the class."""
        self._reading = 0
        self._end[stream] += count
        self.logging, self.stamp, self.position, self.final = stream, stamp, position, final
        self._tell()
        return self.pending(stream)

    def logged(self, stream: int, count: int, position: int) -> None:
        """The first ``count`` pending bytes are in the log, or are lost and counted."""
        self._start[stream] += count
        self.position = position
        self._tell()

    def pending(self, stream: int) -> bytes:
        at = _offset(stream)
        return bytes(self._view[at + self._start[stream] : at + self._end[stream]])

    def close(self) -> None:
        """Nothing is pending any more."""
        if self._memory is not None:
            self._view.release()
            self._memory.close()
            self._memory = None
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass

    def _open(self) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size != _SIZE:
                os.ftruncate(fd, _SIZE)
            is_new = os.pread(fd, len(_MAGIC), 1) != _MAGIC
            if is_new:
                os.pwrite(fd, bytes(_HEAD_SIZE), 0)
            self._memory = mmap.mmap(fd, _SIZE)
        except OSError as error:
            raise NoRoom from error
        finally:
            os.close(fd)
        self._view = memoryview(self._memory)
        if is_new:
            self._tell()
            self._memory[1 : 1 + len(_MAGIC)] = _MAGIC
        else:
            self._read_head()

    def _read_head(self) -> None:
        assert self._memory is not None
        self._slot = self._memory[0]
        (self._reading, self.logging, final, self.stamp, self.position, *of_streams) = _HEAD.unpack_from(
            self._memory, _SLOTS[self._slot])
        self.final = bool(final)
        for index, field in enumerate((self._start, self._end, self._room)):
            field[1:] = of_streams[2 * index : 2 * index + 2]
        for stream in {1, 2} - {self._reading}:  # a kill may have come between a move and what follows it
            at, end, room = _offset(stream), self._end[stream], self._room[stream]
            self._view[at + end : at + room] = _blank[: room - end]

    def _tell(self) -> None:
        assert self._memory is not None
        self._slot ^= 1
        _HEAD.pack_into(
            self._memory, _SLOTS[self._slot], self._reading, self.logging, self.final, self.stamp, self.position,
            *self._start[1:], *self._end[1:], *self._room[1:])
        self._memory[0] = self._slot

    def _clear(self, stream: int) -> None:
        """Move what is pending to the region's beginning, and have BLANK behind it. What is pending never lies in its
        own way: it is at most a line that has not ended, or begins where the region does."""
        start, end, at = self._start[stream], self._end[stream], _offset(stream)
        count = end - start
        if not start or start < count:
            return
        self._view[at : at + count] = self._view[at + start : at + end]
        self._reading = 0
        self._start[stream], self._end[stream] = 0, count
        self._tell()
        self._view[at + count : at + end] = _blank[: end - count]

    def _grow(self, stream: int) -> None:
        room, free = self._room[stream], self._room[stream] - self._end[stream]
        if room == _REGION or (free >= _ROOM_LEAST and self._filled != stream):
            return
        grown = _REGION if room else _ROOM_FIRST
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                written = os.pwrite(fd, _blank[: grown - room], _offset(stream) + room)
            finally:
                os.close(fd)
        except OSError as error:
            if not free:
                raise NoRoom from error
            return
        self._room[stream] = room + written


def _offset(stream: int) -> int:
    return _HEAD_SIZE + (stream - 1) * _REGION
