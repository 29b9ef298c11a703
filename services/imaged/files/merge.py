"""Puts a layer's directory onto an upper directory: what both say together, as one upper directory.

Both are as overlayfs has them: a whiteout is a device 0:0, an opaque directory has an attribute. Files of the layer are
moved, not copied. A mark is set only where something below is hidden by it: where there is nothing overlayfs would list
a whiteout as a name.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from chassis import trees
from chassis.tar.pack import attributes
from imaged.files.roots import Root

_OPAQUE: Final = b"trusted.overlay.opaque"


class Merger:
    """Moves the tree ``layer`` into ``upper``, which lies over ``below`` (None: over nothing)."""

    def __init__(self, layer: Root, upper: Root, below: Root | None) -> None:
        self._layer = layer
        self._upper = upper
        self._below = below
        self._alone: set[bytes] = set()
        """Directories through which nothing of what is below shows."""

    def run(self, *, hides_all: bool) -> None:
        """Do it. Where the layer ``hides_all`` nothing stays of what was there."""
        if hides_all:
            self._hide_all()
        times: list[tuple[bytes, int]] = []
        for path, status in trees.walk(self._layer.fd, b"."):
            if stat.S_ISDIR(status.st_mode):
                if path:
                    self._directory(path)
                _describe(self._layer, self._upper, path, status)
                times.append((path, status.st_mtime_ns))
            else:
                self._leaf(path, status)
        for path, mtime_ns in reversed(times):
            fd = self._upper.directory(path)
            os.utime(fd, ns=(mtime_ns, mtime_ns))
            os.close(fd)

    def _hide_all(self) -> None:
        for name in os.listdir(self._upper.fd):
            _remove(self._upper, os.fsencode(name))
        for name in os.listdir(self._below.fd) if self._below is not None else ():
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=self._upper.fd)

    def _shows(self, path: bytes) -> os.stat_result | None:
        """What would be seen of what is below, if nothing hid it at the path itself."""
        if self._below is None or path.rpartition(b"/")[0] in self._alone:
            return None
        return self._below.status(path)

    def _leaf(self, path: bytes, status: os.stat_result) -> None:
        if self._upper.status(path) is not None:
            _remove(self._upper, path)
        is_whiteout = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
        if not is_whiteout or self._shows(path) is not None:
            _move(self._layer, self._upper, path)

    def _directory(self, path: bytes) -> None:
        there, below = self._upper.status(path), self._shows(path)
        hides = _is_opaque(self._layer, path) or (there is not None and not stat.S_ISDIR(there.st_mode))
        if there is not None and hides:
            _remove(self._upper, path)
            there = None
        if there is None:
            parent, name = _parent(self._upper, path)
            os.mkdir(name, 0o700, dir_fd=parent)
            os.close(parent)
        if hides and below is not None:
            _make_opaque(self._upper, path)
        if below is None or not stat.S_ISDIR(below.st_mode) or _is_opaque(self._upper, path):
            self._alone.add(path)


def _is_opaque(root: Root, path: bytes) -> bool:
    fd = root.directory(path)
    try:
        return os.getxattr(fd, _OPAQUE) == b"y"
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return False
    finally:
        os.close(fd)


def _make_opaque(root: Root, path: bytes) -> None:
    fd = root.directory(path)
    try:
        os.setxattr(fd, _OPAQUE, b"y")
    finally:
        os.close(fd)


def _parent(root: Root, path: bytes) -> tuple[int, bytes]:
    directory, _, name = path.rpartition(b"/")
    return root.directory(directory), name


def _remove(root: Root, path: bytes) -> None:
    fd, name = _parent(root, path)
    try:
        trees.remove_tree(fd, name)
    finally:
        os.close(fd)


def _move(layer: Root, upper: Root, path: bytes) -> None:
    source, name = _parent(layer, path)
    target, _ = _parent(upper, path)
    try:
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
    finally:
        os.close(source)
        os.close(target)


def _describe(layer: Root, upper: Root, path: bytes, status: os.stat_result) -> None:
    """A directory that both have is the layer's."""
    source, target = layer.directory(path), upper.directory(path)
    try:
        os.fchown(target, status.st_uid, status.st_gid)
        os.fchmod(target, stat.S_IMODE(status.st_mode))
        wanted = attributes(source)
        for key in attributes(target).keys() - wanted.keys():
            os.removexattr(target, key)
        for key, value in wanted.items():
            os.setxattr(target, key, value)
    finally:
        os.close(source)
        os.close(target)
