"""A second directory tree with the first one's files: what is changed in it by taking names away and making new ones
changes nothing in the first."""

from __future__ import annotations

import os
import stat

from chassis import trees


def clone(parent: int, name: bytes, new: bytes) -> None:
    """Give the empty directory ``new`` in ``parent`` (a descriptor) all that the directory ``name`` beside it has.
    Directories are made anew, with owner, mode, time and all attributes; everything else is the same inode."""
    times: list[tuple[bytes, int]] = []
    for path, status in trees.walk(parent, name):
        before, after = (name + b"/" + path, new + b"/" + path) if path else (name, new)
        if not stat.S_ISDIR(status.st_mode):
            os.link(before, after, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
            continue
        if path:
            os.mkdir(after, 0o700, dir_fd=parent)
        _describe(parent, before, after, status)
        times.append((after, status.st_mtime_ns))
    for path, mtime_ns in reversed(times):
        os.utime(path, ns=(mtime_ns, mtime_ns), dir_fd=parent, follow_symlinks=False)


def _describe(parent: int, before: bytes, after: bytes, status: os.stat_result) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    source, target = os.open(before, flags, dir_fd=parent), os.open(after, flags, dir_fd=parent)
    try:
        os.fchown(target, status.st_uid, status.st_gid)
        os.fchmod(target, stat.S_IMODE(status.st_mode))
        for key in os.listxattr(source):
            os.setxattr(target, key, os.getxattr(source, key))
    finally:
        os.close(source)
        os.close(target)
