"""Directory trees of strangers: removed and measured without following links, without recursion, with two descriptors.

A container can make trees deeper than any stack or descriptor limit. So the walk goes down by name and up by ``..``,
and checks on the way up that it arrives where it came from. Only the standard library is imported.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Usage:
    """``bytes`` of disk blocks and number of ``inodes``; a file with several names counts once."""

    bytes: int
    inodes: int


def remove_tree(parent: int, name: bytes) -> None:
    """Remove ``name`` in the directory ``parent`` (a descriptor) and all below it; nothing where it is not there.

    Nobody else may move directories within it meanwhile: OSError ESTALE where somebody did.
    """
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass
    else:
        return
    # What remains is a directory; unlink(2) says EISDIR for it, or EPERM.
    here = os.open(name, _OPEN, dir_fd=parent)
    try:
        # Of each level from the top down to here: which directory it is, and which of its own are still to be removed.
        trail = [(_identity(here), _empty(here))]
        while True:
            _, left = trail[-1]
            if left:
                here = _step(here, left[-1])
                trail.append((_identity(here), _empty(here)))
                continue
            trail.pop()
            if not trail:
                break
            here = _step(here, b"..")
            origin, left = trail[-1]
            if _identity(here) != origin:
                raise OSError(errno.ESTALE, "a directory was moved while its tree was removed", os.fsdecode(name))
            os.rmdir(left.pop(), dir_fd=here)
    finally:
        os.close(here)
    os.rmdir(name, dir_fd=parent)


def _empty(directory: int) -> list[bytes]:
    """Unlink all but directories, remove the empty ones; the names of those that are left."""
    left = []
    for name in os.listdir(directory):
        raw = os.fsencode(name)
        try:
            os.unlink(raw, dir_fd=directory)
        except (IsADirectoryError, PermissionError):
            try:
                os.rmdir(raw, dir_fd=directory)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
                left.append(raw)
    return left


def _step(here: int, name: bytes) -> int:
    there = os.open(name, _OPEN, dir_fd=here)
    os.close(here)
    return there


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def walk(
    parent: int, name: bytes, closed: frozenset[int] = frozenset()
) -> Iterator[tuple[bytes, os.stat_result]]:
    """(path below, lstat) of all below the directory ``name``, its own first as b""; names sorted, parents first.

    Goes down by name with at most two descriptors; a directory that vanishes meanwhile is passed over. Directories on
    one of the devices ``closed`` are given, not gone into.
    """
    here = os.open(name, _OPEN, dir_fd=parent)
    try:
        yield b"", os.fstat(here)
        stack: list[tuple[bytes, list[bytes], tuple[int, int]]] = [(b"", _names(here), _identity(here))]
        while stack:
            path, names, _ = stack[-1]
            if not names:
                stack.pop()
                if stack:
                    here = _step(here, b"..")
                    if _identity(here) != stack[-1][2]:
                        raise OSError(errno.ESTALE, "a directory was moved while its tree was read", os.fsdecode(path))
                continue
            child = names.pop()
            try:
                status = os.stat(child, dir_fd=here, follow_symlinks=False)
            except FileNotFoundError:
                continue
            below = path + b"/" + child if path else child
            yield below, status
            if stat.S_ISDIR(status.st_mode) and status.st_dev not in closed:
                try:
                    here = _step(here, child)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                stack.append((below, _names(here), _identity(here)))
    finally:
        os.close(here)


def _names(directory: int) -> list[bytes]:
    return sorted((os.fsencode(name) for name in os.listdir(directory)), reverse=True)


def usage(parent: int, name: bytes) -> Usage:
    """What the directory ``name`` and all below it occupy."""
    blocks = inodes = 0
    seen: set[tuple[int, int]] = set()
    for _, status in walk(parent, name):
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        blocks += status.st_blocks
        inodes += 1
    return Usage(blocks * 512, inodes)


def content(parent: int, name: bytes) -> int:
    """Sum of the sizes of the regular files below the directory ``name``; one with several names counts once."""
    total = 0
    seen: set[tuple[int, int]] = set()
    for _, status in walk(parent, name):
        if not stat.S_ISREG(status.st_mode):
            continue
        if status.st_nlink > 1:
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        total += status.st_size
    return total
