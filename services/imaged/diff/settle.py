"""Makes an upper directory what the tar of its layer says, so that it can stand in for the tar unpacked.

What is no change goes out of it, be it a mount's stub or a file that was copied up for nothing; what a layer cannot
hold goes too; times are clamped, and those of directories are put right at the end.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from chassis import kernel, trees
from imaged.diff.changes import DELETED, Change

ROOT_MODE: Final = 0o755
_UPPER: Final = b"upper"
_BENEATH: Final = kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_SYMLINKS | kernel.RESOLVE_NO_MAGICLINKS


class Settler:
    """Follows the walk over the changes of the upper directory in ``outer`` (a descriptor): ``passed`` and ``written``
    are its callbacks."""

    def __init__(self, outer: int, clamp_ns: int | None) -> None:
        self._outer = outer
        self._clamp_ns = clamp_ns
        self._times: dict[bytes, int] = {}
        self.changes = 0
        """How many entries the layer has."""

    def passed(self, path: bytes, status: os.stat_result, before: os.stat_result | None) -> None:
        """What has not changed."""
        if before is not None and stat.S_ISDIR(status.st_mode):
            self._times[path] = before.st_mtime_ns
        else:
            self._drop(path)

    def written(self, change: Change, kept: bool) -> None:
        """A change that is in the tar, or could not be ``kept`` there."""
        is_socket = change.status is not None and stat.S_ISSOCK(change.status.st_mode)
        self.changes += kept and not is_socket
        if change.kind == DELETED or change.status is None:
            return
        if not kept or is_socket:
            self._drop(change.path)
            return
        wanted = change.status.st_mtime_ns
        if self._clamp_ns is not None:
            wanted = min(wanted, self._clamp_ns)
        if stat.S_ISDIR(change.status.st_mode):
            self._times[change.path] = wanted
        elif wanted != change.status.st_mtime_ns:
            self._set(change.path, wanted)

    def finish(self) -> None:
        """Put the directories' times right: taking things out of them has changed some. The root has no entry in the
        tar, and so it is as any layer's."""
        for path, wanted in self._times.items():
            self._set(path, wanted)
        os.chown(_UPPER, 0, 0, dir_fd=self._outer, follow_symlinks=False)
        os.chmod(_UPPER, ROOT_MODE, dir_fd=self._outer)

    def _drop(self, path: bytes) -> None:
        parent, name = self._parent(path)
        try:
            trees.remove_tree(parent, name)
        finally:
            os.close(parent)

    def _set(self, path: bytes, mtime_ns: int) -> None:
        parent, name = self._parent(path)
        try:
            os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(parent)

    def _parent(self, path: bytes) -> tuple[int, bytes]:
        directory, _, name = path.rpartition(b"/")
        below = _UPPER + b"/" + directory if directory else _UPPER
        return kernel.openat2(self._outer, below, os.O_PATH | os.O_DIRECTORY, _BENEATH), name
