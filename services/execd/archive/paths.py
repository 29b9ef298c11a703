"""What a path of a container means, by Docker's rules: cleaned as text, links followed within the container, the last
part only where "/" or "/." follows it."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from typing import Any, Final

from chassis import kernel
from chassis.errors import InvalidArgument, NotFound
from execd.archive.view import View

RESOLVE: Final = kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS
_MISSING: Final = frozenset({errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG})


class Place:
    """``path`` found in the view: ``name`` in the directory ``parent``, a descriptor; ``base`` is the name that an
    archive of it begins with, ``stat`` its lstat."""

    def __init__(self, view: View, path: bytes) -> None:
        self._view = view
        clean = posixpath.normpath(b"/" + path.lstrip(b"/"))
        ending = path.rpartition(b"/")[2]
        self.path = clean
        self.base = b"." if ending == b"." and clean != b"/" else posixpath.basename(clean) or b"/"
        if ending in (b"", b".") or clean == b"/":
            self.parent, self.name = directory(view, path), b"."
        else:
            self.parent, self.name = directory(view, posixpath.dirname(clean), path), posixpath.basename(clean)
        try:
            self.stat = os.stat(self.name, dir_fd=self.parent, follow_symlinks=False)
        except OSError as error:
            raise _error(error, path) from error
        if self.stat.st_dev in view.hidden:
            raise _missing(path)

    def described(self) -> dict[str, Any]:
        """PathStat's fields."""
        target = self._target() if stat.S_ISLNK(self.stat.st_mode) else b""
        return {"name": os.fsdecode(self.base), "size": self.stat.st_size, "mode": self.stat.st_mode,
                "mtime": self.stat.st_mtime_ns, "link_target": os.fsdecode(target)}

    def _target(self) -> bytes:
        """Where the link leads in the end; as its text says where that does not exist."""
        try:
            fd = kernel.openat2(self._view.root, self.path.lstrip(b"/") or b".", os.O_PATH, RESOLVE)
        except OSError:
            link = os.readlink(self.name, dir_fd=self.parent)
            return posixpath.normpath(posixpath.join(posixpath.dirname(self.path), link))
        try:
            return self._view.path_of(fd)
        finally:
            os.close(fd)


def directory(view: View, path: bytes, asked: bytes = b"") -> int:
    """The directory ``path`` as a descriptor, all links followed; an error names what was ``asked`` for."""
    asked = asked or path
    clean = posixpath.normpath(b"/" + path.lstrip(b"/"))
    try:
        fd = kernel.openat2(view.root, clean.lstrip(b"/") or b".", os.O_PATH | os.O_DIRECTORY, RESOLVE)
    except OSError as error:
        raise _error(error, asked) from error
    if os.fstat(fd).st_dev in view.hidden:
        os.close(fd)
        raise _missing(asked)
    return fd


def _error(error: OSError, path: bytes) -> Exception:
    if error.errno == errno.ENOTDIR:
        return InvalidArgument(f"{os.fsdecode(path)}: not a directory", reason="NOT_A_DIRECTORY")
    return _missing(path) if error.errno in _MISSING else error


def _missing(path: bytes) -> NotFound:
    return NotFound(f"Could not find the file {os.fsdecode(path)}", reason="NO_SUCH_PATH")
