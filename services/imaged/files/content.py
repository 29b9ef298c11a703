"""A file's content from one descriptor to another, by the kernel where it can."""

from __future__ import annotations

import errno
import os
from typing import Final

from chassis.errors import ResourceExhausted

_SMALL: Final = 64 << 10
_PIECE: Final = 1 << 20
_AT_ONCE: Final = 1 << 30
_EVERY: Final = 32 << 20
_NOT_HERE: Final = frozenset({errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EBADF})


class Space:
    """What stays free on the file system of ``root`` (a descriptor), whatever is written: ``reserve`` bytes."""

    def __init__(self, root: int, reserve: int) -> None:
        self._root = root
        self._reserve = reserve
        self._unchecked = _EVERY

    def need(self, length: int) -> None:
        """``length`` bytes are about to be written. ResourceExhausted (NO_SPACE)."""
        self._unchecked += length
        if self._unchecked < _EVERY:
            return
        self._unchecked = 0
        space = os.fstatvfs(self._root)
        if space.f_bavail * space.f_frsize < self._reserve + max(_EVERY, length):
            raise ResourceExhausted("no space left on device", reason="NO_SPACE")


def copy_content(source: int, target: int, status: os.stat_result) -> int:
    """Copy a regular file whose status is ``status`` into an empty one, holes kept; its size in bytes."""
    size = status.st_size
    if size <= _SMALL:
        _write(target, os.read(source, size), 0)
        return size
    if status.st_blocks * 512 >= size:
        _range(source, target, 0, size)
        return size
    position = 0
    while position < size:
        try:
            begin = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                break
            raise
        position = os.lseek(source, begin, os.SEEK_HOLE)
        _range(source, target, begin, min(position, size) - begin)
    os.ftruncate(target, size)
    return size


def _range(source: int, target: int, offset: int, length: int) -> None:
    end = offset + length
    while offset < end:
        try:
            done = os.copy_file_range(source, target, min(end - offset, _AT_ONCE), offset, offset)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            done = 0
        if not done:
            _by_hand(source, target, offset, end)
            return
        offset += done


def _by_hand(source: int, target: int, offset: int, end: int) -> None:
    while offset < end:
        part = os.pread(source, min(_PIECE, end - offset), offset)
        if not part:
            return  # it is shorter than it was
        _write(target, part, offset)
        offset += len(part)


def _write(target: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(target, view, offset)
        offset += written
        view = view[written:]
