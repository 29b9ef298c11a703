"""Copies what sources stand for into another tree, by the rules of a Dockerfile's COPY and ADD."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chassis import trees
from chassis.errors import InvalidArgument
from chassis.modes import Change
from chassis.tar.extract import is_whiteout
from chassis.tar.pack import attributes
from imaged.files.content import Space, copy_content
from imaged.files.roots import Root, cleaned, joined, parts_of, shown
from imaged.files.selection import Found, Selection

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MADE_MODE: Final = 0o755


@dataclass(frozen=True)
class Rules:
    """How things arrive: ``owner`` of everything, ``mode`` of files and directories (None: as it is); ``replace``:
    what is in the way goes, links too, as a layer of its own would have it. Directories that are made for want of one
    are root's where things keep their owners."""

    owner: tuple[int, int] | None = (0, 0)
    mode: Change | None = None
    replace: bool = False


@dataclass
class Copied:
    """How many files, and the bytes of their content."""

    files: int = 0
    bytes: int = 0


Unpack = Callable[[int, bytes], bool]
"""Unpacks the file behind a descriptor into a directory's place; whether it was an archive."""


class Copier:
    """Copies from the tree ``source`` into ``target``."""

    def __init__(self, source: Root, target: Root, rules: Rules, space: Space, unpack: Unpack | None = None) -> None:
        self._source = source
        self._target = target
        self._rules = rules
        self._space = space
        self._unpack = unpack
        self._links: dict[tuple[int, int], bytes] = {}
        self._times: dict[bytes, int] = {}
        self._entered: tuple[bytes, int] | None = None
        self.copied = Copied()

    def run(self, selection: Selection, found: list[Found], target: bytes, *, parents: bool) -> Copied:
        """Copy what was found to the path ``target``. InvalidArgument (BAD_TARGET, OTHER_KIND) where that cannot be."""
        last = target.rpartition(b"/")[2]
        into = parents or last in (b"", b".", b"..")
        place = cleaned(target) if self._rules.replace else self._target.resolve(target)
        status = self._target.status(place)
        if status is not None and stat.S_ISDIR(status.st_mode):
            into = True
        elif len(found) > 1 and not into:
            raise InvalidArgument(
                "When using COPY with more than one source file, the destination must be a directory and end with a /",
                reason="BAD_TARGET", field="target", expected="a path that ends with /")
        if into:
            self.make_directory(place)
        for one in found:
            self._one(selection, one, place, into=into, parents=parents)
        self._leave()
        for path, mtime_ns in self._times.items():
            self._set_time(path, mtime_ns)
        return self.copied

    def _one(self, selection: Selection, one: Found, place: bytes, *, into: bool, parents: bool) -> None:
        if parents:
            place = self._with_parents(one, place)
        if one.is_directory:
            self.make_directory(place)
            for item in selection.inside(one):
                at = joined(place, item.path)
                if stat.S_ISDIR(item.status.st_mode):
                    self._directory(joined(one.place, item.path), at, item.status)
                else:
                    self._leaf(item.parent, item.name, item.status, at)
            return
        if selection.leaves_out(one):
            return
        parent, _, name = one.place.rpartition(b"/")
        fd = self._source.directory(parent)
        try:
            if self._unpack is not None and stat.S_ISREG(one.status.st_mode) and self._unpacked(fd, name, place):
                return
            at = joined(place, one.name) if into and not parents else place
            self.make_directory(at.rpartition(b"/")[0])
            self._leaf(fd, name, one.status, at)
        finally:
            os.close(fd)

    def _with_parents(self, one: Found, place: bytes) -> bytes:
        """Where a source goes that keeps its directories, which are made like those that it stands in; it is one of
        them where it is a directory."""
        parts = parts_of(one.below)
        above = parts_of(one.path)[: len(parts_of(one.path)) - len(parts)]
        for length in range(1, len(parts) + one.is_directory):
            origin = self._source.resolve(b"/".join([*above, *parts[:length]]))
            status = self._source.status(origin)
            if status is not None and stat.S_ISDIR(status.st_mode):
                self._directory(origin, joined(place, b"/".join(parts[:length])), status)
        return joined(place, b"/".join(parts))

    def _unpacked(self, parent: int, name: bytes, place: bytes) -> bool:
        assert self._unpack is not None
        fd = os.open(name, _READ, dir_fd=parent)
        try:
            return self._unpack(fd, place)
        finally:
            os.close(fd)

    def make_directory(self, place: bytes) -> bool:
        """See that there is a directory at the place; whether anything had to be made. What is missing is 0755, and
        the owner's."""
        made = False
        parts = parts_of(place)
        for length in range(1, len(parts) + 1):
            here = b"/".join(parts[:length])
            status = self._target.status(here)
            if status is not None and not stat.S_ISDIR(status.st_mode):
                if not self._rules.replace:
                    raise InvalidArgument(f"mkdir {shown(here)}: not a directory", reason="OTHER_KIND", field="target")
                self._remove(here)
                status = None
            if status is None:
                parent, name = self._parent(here)
                os.mkdir(name, _MADE_MODE, dir_fd=parent)
                os.chown(name, *(self._rules.owner or (0, 0)), dir_fd=parent, follow_symlinks=False)
                made = True
        return made

    def _directory(self, origin: bytes, place: bytes, status: os.stat_result) -> None:
        """A directory within a source: made, or given the source's owner, mode and attributes."""
        there = self._target.status(place)
        if there is not None and not stat.S_ISDIR(there.st_mode):
            if not self._rules.replace:
                raise InvalidArgument(f"cannot copy to non-directory: {shown(place)}", reason="OTHER_KIND",
                                      field="target")
            self._remove(place)
            there = None
        if there is None:
            parent, name = self._parent(place)
            os.mkdir(name, 0o700, dir_fd=parent)
        source, target = self._source.directory(origin), self._target.directory(place)
        try:
            os.fchown(target, *self._owner(status))
            os.fchmod(target, self._mode(status))
            for key, value in attributes(source).items():
                os.setxattr(target, key, value)
        finally:
            os.close(source)
            os.close(target)
        self._times[place] = status.st_mtime_ns

    def _owner(self, status: os.stat_result) -> tuple[int, int]:
        return self._rules.owner or (status.st_uid, status.st_gid)

    def _mode(self, status: os.stat_result) -> int:
        mode = stat.S_IMODE(status.st_mode)
        if self._rules.mode is None:
            return mode
        return self._rules.mode.applied(mode, is_directory=stat.S_ISDIR(status.st_mode))

    def _leaf(self, origin: int, name: bytes, status: os.stat_result, place: bytes) -> None:
        """What is no directory: ``name`` in the directory ``origin``."""
        if stat.S_ISSOCK(status.st_mode):
            return
        parent, last = self._parent(place)
        key = (status.st_dev, status.st_ino)
        make = self._maker(origin, name, status, parent, last)
        if status.st_nlink > 1 and key in self._links:
            known = self._links[key]

            def make() -> None:
                os.link(known, last, src_dir_fd=self._target.fd, dst_dir_fd=parent, follow_symlinks=False)
        try:
            make()
        except FileExistsError:
            self._make_room(place)
            make()
        if status.st_nlink > 1:
            self._links[key] = place
        self.copied.files += 1

    def _maker(
        self, origin: int, name: bytes, status: os.stat_result, parent: int, last: bytes
    ) -> Callable[[], None]:
        if stat.S_ISREG(status.st_mode):
            return lambda: self._file(origin, name, parent, last)
        link = os.readlink(name, dir_fd=origin) if stat.S_ISLNK(status.st_mode) else None

        def described() -> None:
            if link is not None:
                os.symlink(link, last, dir_fd=parent)
            else:
                os.mknod(last, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=parent)
            os.chown(last, *self._owner(status), dir_fd=parent, follow_symlinks=False)
            if link is None:
                os.chmod(last, self._mode(status), dir_fd=parent)
            os.utime(last, ns=(status.st_mtime_ns, status.st_mtime_ns), dir_fd=parent, follow_symlinks=False)

        return described

    def _file(self, origin: int, name: bytes, parent: int, last: bytes) -> None:
        target = os.open(last, _CREATE, 0o600, dir_fd=parent)
        try:
            source = os.open(name, _READ, dir_fd=origin)
            try:
                now = os.fstat(source)
                self._space.need(now.st_blocks * 512)
                self.copied.bytes += copy_content(source, target, now)
                # Owner, then mode (chown takes set-id bits away), then attributes (chown takes capabilities away).
                os.fchown(target, *self._owner(now))
                os.fchmod(target, self._mode(now))
                for key, value in attributes(source).items():
                    os.setxattr(target, key, value)
                os.utime(target, ns=(now.st_mtime_ns, now.st_mtime_ns))
            finally:
                os.close(source)
        finally:
            os.close(target)

    def _make_room(self, place: bytes) -> None:
        status = self._target.status(place)
        if status is not None and stat.S_ISDIR(status.st_mode) and not self._rules.replace:
            raise InvalidArgument(f"cannot replace to directory {shown(place)} with file", reason="OTHER_KIND",
                                  field="target")
        self._remove(place)

    def _remove(self, place: bytes) -> None:
        parent, name = self._parent(place)
        trees.remove_tree(parent, name)

    def _parent(self, place: bytes) -> tuple[int, bytes]:
        """A descriptor of the directory that the place is in, kept for the next one; and the last name. InvalidArgument
        (RESERVED_NAME) for one that a layer cannot hold; what keeps its owner is for a mount alone."""
        directory, _, name = place.rpartition(b"/")
        if self._rules.owner is not None and is_whiteout(name):
            raise InvalidArgument(
                f"{shown(place)}: no image can hold a name that begins with .wh.: it would hide another",
                reason="RESERVED_NAME", field="target", expected="another name, or its exclusion by .dockerignore")
        if self._entered is None or self._entered[0] != directory:
            self._leave()
            self._entered = directory, self._target.open(directory, os.O_PATH | os.O_DIRECTORY)
        return self._entered[1], name

    def _leave(self) -> None:
        if self._entered is not None:
            os.close(self._entered[1])
            self._entered = None

    def _set_time(self, place: bytes, mtime_ns: int) -> None:
        try:
            fd = self._target.directory(place)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return  # a later source has put something else there
            raise
        try:
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)
