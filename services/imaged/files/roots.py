"""A stranger's file tree: paths resolved in it as a process would that has it as its root, and never beyond.

A *place* is a path without links, "." and ".." in it, relative to the root; b"" is the root itself. Only places are
opened, and only without following anything.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from chassis import kernel
from chassis.errors import InvalidArgument

_BENEATH: Final = kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_SYMLINKS | kernel.RESOLVE_NO_MAGICLINKS
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
_LINKS: Final = 255
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def parts_of(path: bytes) -> list[bytes]:
    """The parts of a path, ".." among them."""
    return [part for part in path.split(b"/") if part not in (b"", b".")]


def cleaned(path: bytes) -> bytes:
    """The place that a path is where ".." is taken by the letter, as Go's filepath.Clean; it ends at the root."""
    kept: list[bytes] = []
    for part in parts_of(path):
        if part != b"..":
            kept.append(part)
        elif kept:
            kept.pop()
    return b"/".join(kept)


def joined(above: bytes, below: bytes) -> bytes:
    """A place within a place."""
    return above + b"/" + below if above and below else above or below


def shown(place: bytes) -> str:
    """A place as its user writes it, printable."""
    return ascii("/" + os.fsdecode(place))[1:-1]


class Root:
    """The tree whose root directory is ``fd``."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def open(self, place: bytes, flags: int = os.O_PATH) -> int:
        """A descriptor of what stands at the place."""
        return kernel.openat2(self.fd, place or b".", flags | os.O_NOFOLLOW, _BENEATH)

    def directory(self, place: bytes) -> int:
        """A readable descriptor of the directory."""
        return self.open(place, os.O_RDONLY | os.O_DIRECTORY)

    def status(self, place: bytes) -> os.stat_result | None:
        """lstat(2); None where nothing is there."""
        try:
            fd = self.open(place)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def readlink(self, place: bytes) -> bytes:
        fd = self.open(place)
        try:
            return os.readlink(b"", dir_fd=fd)
        finally:
            os.close(fd)

    def resolve(self, path: bytes) -> bytes:
        """The place that a path means, links followed, the last one too; what is not there is taken by the letter."""
        left, here, links = parts_of(path)[::-1], list[bytes](), 0
        while left:
            part = left.pop()
            if part == b"..":
                del here[-1:]
                continue
            here.append(part)
            status = self.status(b"/".join(here))
            if status is None or not stat.S_ISLNK(status.st_mode):
                continue
            links += 1
            if links > _LINKS:
                raise InvalidArgument(f"stat {shown(cleaned(path))}: too many levels of symbolic links", reason="LOOP")
            target = self.readlink(b"/".join(here))
            here = [] if target.startswith(b"/") else here[:-1]
            left += parts_of(target)[::-1]
        return b"/".join(here)

    def read_file(self, path: bytes, limit: int) -> bytes | None:
        """A regular file's content, None where there is none. InvalidArgument where it is longer than ``limit``."""
        place = self.resolve(path)
        try:
            fd = self.open(place, _READ)
        except OSError as error:
            if error.errno in (*_NOT_THERE, errno.ENXIO):
                return None
            raise
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            content = file.read(limit + 1)
        if len(content) > limit:
            raise InvalidArgument(f"{shown(place)}: more than {limit} bytes", reason="TOO_LARGE")
        return content
