"""A digest over what a copy of files would give: contents, types, modes, owners, attributes, names; no times.

Everything goes into it with its length in front, so that no two selections of files give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from typing import Final

from chassis.tar.pack import attributes
from imaged.files.roots import Root
from imaged.files.selection import Found, Selection

_PIECE: Final = 1 << 20
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_HEAD: Final = struct.Struct("<IIIQ")
_LENGTH: Final = struct.Struct("<Q")


class Digester:
    """Digests what sources of the tree ``root`` stand for."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._hash = hashlib.sha256()

    def of(self, selection: Selection, found: list[Found], *, parents: bool) -> str:
        """"sha256:…"; it does not depend on where the tree is, nor on its layers."""
        for one in found:
            if not one.is_directory:
                if selection.leaves_out(one):
                    continue
                parent, _, name = one.place.rpartition(b"/")
                fd = self._root.directory(parent)
                try:
                    self._text(b"file")
                    self._entry(one.below if parents else one.name, one.status, fd, name)
                finally:
                    os.close(fd)
                continue
            self._text(b"directory")
            self._text(one.below if parents else b"")
            for item in selection.inside(one):
                if stat.S_ISDIR(item.status.st_mode):
                    self._directory(one, item.path, item.status)
                else:
                    self._entry(item.path, item.status, item.parent, item.name)
        return "sha256:" + self._hash.hexdigest()

    def _text(self, text: bytes) -> None:
        self._hash.update(_LENGTH.pack(len(text)) + text)

    def _head(self, path: bytes, status: os.stat_result, number: int) -> None:
        self._text(path)
        self._hash.update(_HEAD.pack(status.st_mode, status.st_uid, status.st_gid, number))

    def _directory(self, found: Found, path: bytes, status: os.stat_result) -> None:
        fd = self._root.directory(b"/".join(part for part in (found.place, path) if part))
        try:
            self._head(path, status, 0)
            self._attributes(fd)
        finally:
            os.close(fd)

    def _entry(self, path: bytes, status: os.stat_result, parent: int, name: bytes) -> None:
        if stat.S_ISLNK(status.st_mode):
            self._head(path, status, 0)
            self._text(os.readlink(name, dir_fd=parent))
        elif stat.S_ISREG(status.st_mode):
            fd = os.open(name, _READ, dir_fd=parent)
            try:
                self._head(path, status, status.st_size)
                self._attributes(fd)
                while part := os.read(fd, _PIECE):
                    self._hash.update(part)
            finally:
                os.close(fd)
        elif not stat.S_ISSOCK(status.st_mode):
            self._head(path, status, status.st_rdev)

    def _attributes(self, fd: int) -> None:
        found = attributes(fd)
        self._hash.update(_LENGTH.pack(len(found)))
        for key in sorted(found):
            self._text(key)
            self._text(found[key])
