"""A file or a directory tree as a tar archive: with its hard links, file capabilities and attributes of users, without
sockets."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from chassis import kernel, trees
from chassis.tar import Entry, Kind, Writer

_PIECE: Final = 256 << 10
_SWAPPED: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
"""What opening says where something else has taken a place since it was looked at."""
_CAPABILITY: Final = "security.capability"
_OVERLAY: Final = "user.overlay."
_BENEATH: Final = kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_SYMLINKS | kernel.RESOLVE_NO_MAGICLINKS
_KINDS: Final = {
    stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.SYMLINK, stat.S_IFCHR: Kind.CHAR,
    stat.S_IFBLK: Kind.BLOCK, stat.S_IFIFO: Kind.FIFO,
}


class Packer:
    """Writes one archive through ``write``. The tree may change meanwhile: what is swapped is passed over, a file that
    shrinks ends in zeros. File systems of ``hidden`` devices (st_dev) are shown as directories that are empty. Times
    later than ``latest_ns`` (nanoseconds of the epoch) become that. ``size`` is the sum of the files' sizes so far.
    """

    def __init__(
        self, write: Callable[[bytes], object], hidden: frozenset[int] = frozenset(), latest_ns: int | None = None
    ) -> None:
        self._writer = Writer(write)
        self._hidden = hidden
        self._latest_ns = latest_ns
        self.size = 0
        self._seen: dict[tuple[int, int], bytes] = {}

    def pack(self, parent: int, name: bytes, base: bytes) -> None:
        """The archive of ``name`` in the directory ``parent`` (a descriptor), whose own name in it is ``base``."""
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            self.add(parent, name, base, status)
        else:
            for below, each in trees.walk(parent, name, self._hidden):
                self.add(parent, _joined(name, below), _joined(base, below), each)
        self.close()

    def add(self, top: int, path: bytes, name: bytes, status: os.stat_result) -> None:
        """What stands at ``path`` below the directory ``top``, without what is in it, as ``name``."""
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        key = (status.st_dev, status.st_ino)
        entry = Entry(name, kind, mode=stat.S_IMODE(status.st_mode), uid=status.st_uid, gid=status.st_gid,
                      mtime_ns=self._time(status))
        try:
            if kind is not Kind.DIRECTORY and status.st_nlink > 1 and key in self._seen:
                self._writer.add(replace(entry, kind=Kind.LINK, link=self._seen[key]))
                return
            if kind is Kind.FILE:
                self._add_file(top, path, name, status)
            elif kind is Kind.SYMLINK:
                self._writer.add(replace(entry, link=_readlink(top, path)))
            elif kind is Kind.DIRECTORY:
                self._writer.add(replace(entry, xattrs=_of_directory(top, path)))
            else:
                device = (os.major(status.st_rdev), os.minor(status.st_rdev))
                self._writer.add(replace(entry, device=device))
        except OSError as error:
            if error.errno not in _SWAPPED:
                raise
            return
        if status.st_nlink > 1:
            self._seen[key] = name

    def mark(self, name: bytes) -> None:
        """An empty file, whose name is what it says."""
        self._writer.add(Entry(name, Kind.FILE))

    def close(self) -> None:
        """The archive's end."""
        self._writer.close()

    def _add_file(self, top: int, path: bytes, name: bytes, status: os.stat_result) -> None:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        fd = kernel.openat2(top, path, flags, _BENEATH)
        try:
            now = os.fstat(fd)
            if not stat.S_ISREG(now.st_mode):
                return  # it was swapped for something that must not be read
            entry = Entry(
                name, Kind.FILE, mode=stat.S_IMODE(now.st_mode), uid=now.st_uid, gid=now.st_gid, size=now.st_size,
                mtime_ns=self._time(now), xattrs=attributes(fd),
            )
            self._writer.add(entry, _content(fd, now.st_size))
            self.size += now.st_size
        finally:
            os.close(fd)

    def _time(self, status: os.stat_result) -> int:
        return status.st_mtime_ns if self._latest_ns is None else min(status.st_mtime_ns, self._latest_ns)


def _content(fd: int, size: int) -> Iterator[bytes]:
    left = size
    while left:
        part = os.read(fd, min(left, _PIECE)) or bytes(min(left, _PIECE))
        left -= len(part)
        yield part


def _of_directory(top: int, path: bytes) -> dict[bytes, bytes]:
    fd = kernel.openat2(top, path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, _BENEATH)
    try:
        return attributes(fd)
    finally:
        os.close(fd)


def attributes(fd: int) -> dict[bytes, bytes]:
    """Those that belong into an image: overlayfs's own would steer who unpacks them, others are the host's matter."""
    found = {}
    try:
        for name in os.listxattr(fd):
            if name == _CAPABILITY or (name.startswith("user.") and not name.startswith(_OVERLAY) and "=" not in name):
                found[os.fsencode(name)] = os.getxattr(fd, name)
    except OSError:
        pass  # this file system has none, or it has gone
    return found


def _readlink(top: int, path: bytes) -> bytes:
    fd = kernel.openat2(top, path, os.O_PATH | os.O_NOFOLLOW, _BENEATH)
    try:
        return os.readlink(b"", dir_fd=fd)
    finally:
        os.close(fd)


def _joined(above: bytes, below: bytes) -> bytes:
    return above.rstrip(b"/") + b"/" + below if below else above
