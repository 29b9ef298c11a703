"""The difference between a snapshot's merged tree and its base, as Docker counts it.

Only what is in the upper directory can differ. A directory counts as changed where its mode or owner is another one, or
where something in it has changed; its time alone does not count. Anything else counts where something that stat(2)
tells, an extended attribute or, where all these are the same, its content is another.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from chassis import kernel, trees
from chassis.tar.pack import attributes

ADDED: Final = "A"
CHANGED: Final = "C"
DELETED: Final = "D"
_BENEATH: Final = kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_SYMLINKS | kernel.RESOLVE_NO_MAGICLINKS
_PIECE: Final = 256 << 10
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV})


class Change(NamedTuple):
    """``path`` has no slash at its ends; ``status`` is the upper's, None for what is deleted."""

    kind: str
    path: bytes
    status: os.stat_result | None


class Trees(NamedTuple):
    """Descriptors of three root directories; ``upper`` is the directory that holds one called ``upper``."""

    upper: int
    base: int
    merged: int


Passed = Callable[[bytes, os.stat_result, os.stat_result | None], object]


def changes(
    trees_: Trees, mount_points: frozenset[bytes], passed: Passed | None = None
) -> Iterator[Change]:
    """All, a directory before what is in it. An empty file or directory that was added at one of ``mount_points`` was
    made for a mount, as was a directory with no more than such in it. ``passed`` is told of what is in the upper and
    has not changed: path, status, and that of the base. A directory may come as a change all the same later, because of
    what is in it."""
    pending: list[Change] = []
    for path, status in trees.walk(trees_.upper, b"upper"):
        while pending and not path.startswith(pending[-1].path + b"/"):
            pending.pop()
        if is_whiteout(status):
            continue  # seen from the directory that it stands in
        if not path:
            for name in _deleted(trees_, b""):
                yield Change(DELETED, name, None)
            continue
        before = _status(trees_.base, path)
        if before is None:
            kind = "" if path in mount_points and _is_stub(trees_, path, status, mount_points) else ADDED
        elif _differ(before, status) or _differs_within(trees_, path, status):
            kind = CHANGED
        else:
            kind = ""
        if kind:
            yield from pending
            pending.clear()
            yield Change(kind, path, status)
        elif passed is not None:
            passed(path, status, before)
        if not kind and before is not None and stat.S_ISDIR(status.st_mode):
            pending.append(Change(CHANGED, path, status))
        if before is not None and stat.S_ISDIR(before.st_mode) and stat.S_ISDIR(status.st_mode):
            for name in _deleted(trees_, path):
                yield from pending
                pending.clear()
                yield Change(DELETED, path + b"/" + name, None)


def is_whiteout(status: os.stat_result) -> bool:
    """overlayfs's mark of a name that is no more."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_stub(trees_: Trees, path: bytes, status: os.stat_result, mount_points: frozenset[bytes]) -> bool:
    """Empty, or a directory with nothing but such mount points in it."""
    waiting: list[tuple[bytes, os.stat_result | None]] = [(path, status)]
    while waiting:
        path, found = waiting.pop()
        if found is None or path not in mount_points:
            return False
        if stat.S_ISDIR(found.st_mode):
            below = [path + b"/" + name for name in _names(trees_.merged, path)]
            waiting += [(each, _status(trees_.merged, each)) for each in below]
        elif not stat.S_ISREG(found.st_mode) or found.st_size:
            return False
    return True


def _deleted(trees_: Trees, path: bytes) -> list[bytes]:
    """Names in the directory that the base has and the merged tree has not."""
    return sorted(set(_names(trees_.base, path)) - set(_names(trees_.merged, path)))


def _names(root: int, path: bytes) -> list[bytes]:
    """What is in the directory; nothing where it has gone meanwhile."""
    try:
        fd = kernel.openat2(root, path or b".", os.O_RDONLY | os.O_DIRECTORY, _BENEATH)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return []
        raise
    try:
        return [os.fsencode(name) for name in os.listdir(fd)]
    finally:
        os.close(fd)


def _status(root: int, path: bytes) -> os.stat_result | None:
    try:
        fd = kernel.openat2(root, path, os.O_PATH | os.O_NOFOLLOW, _BENEATH)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _differ(before: os.stat_result, now: os.stat_result) -> bool:
    if (before.st_mode, before.st_uid, before.st_gid) != (now.st_mode, now.st_uid, now.st_gid):
        return True
    if stat.S_ISDIR(now.st_mode):
        return False
    return (before.st_size, before.st_mtime_ns, before.st_rdev) != (now.st_size, now.st_mtime_ns, now.st_rdev)


def _differs_within(trees_: Trees, path: bytes, status: os.stat_result) -> bool:
    """Whether a file or directory that stat(2) calls the same has other attributes, or another content."""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return False
    try:
        before = _opened(trees_.base, path)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return True
        raise
    try:
        now = _opened(trees_.upper, b"upper/" + path)
        try:
            if attributes(before) != attributes(now):
                return True
            return stat.S_ISREG(status.st_mode) and not _same_content(before, now)
        finally:
            os.close(now)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return False  # it has gone meanwhile
        raise
    finally:
        os.close(before)


def _opened(root: int, path: bytes) -> int:
    return kernel.openat2(root, path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, _BENEATH)


def _same_content(one: int, other: int) -> bool:
    while True:
        part = os.read(one, _PIECE)
        if part != os.read(other, _PIECE):
            return False
        if not part:
            return True
