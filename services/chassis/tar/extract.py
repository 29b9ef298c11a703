"""Writes the entries of an archive below a root: a layer's (OCI image-spec, layer.md, as directories that overlayfs
reads), or what somebody copies into a container.

Runs in a process whose root is that root. Even so no path is trusted: parents are resolved by openat2 within the root,
the last part of a name is never followed, and all calls on it are made from its parent as working directory.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from chassis import kernel, trees
from chassis.errors import InvalidArgument, ResourceExhausted
from chassis.tar import Entry, Kind, Reader, bad_archive, clean_name

_WHITEOUT: Final = b".wh."
_OPAQUE: Final = b".wh..wh..opq"
_META: Final = b".wh..wh."
_OVERLAY_OPAQUE: Final = b"trusted.overlay.opaque"
_RESOLVE: Final = kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SPACE_EVERY: Final = 32 << 20
_IMPLIED_MODE: Final = 0o755
_XATTRS: Final = (b"user.", b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default")
_XATTRS_NOT: Final = (b"user.overlay.",)
_XATTR_MISFITS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP})


def is_whiteout(name: bytes) -> bool:
    """Whether a name in a layer says that another one is no more (OCI image-spec, layer.md)."""
    return name.startswith(_WHITEOUT)


@dataclass(frozen=True)
class Rules:
    """How entries are taken; the defaults are a layer's.

    ``base``: all goes below this directory of the root, which is there. ``whiteouts``: names that begin with ".wh."
    hide what is below the layer; else they are names as others. ``cross_mounts``: paths may lead into other file
    systems. ``keep_base``: an entry for the base itself changes nothing. ``owner``: (uid, gid) of everything made,
    whatever the archive says. ``keep_kinds``: a directory is not replaced by something else, nor the reverse.
    ``for_layer``: what is made becomes a layer, which cannot hold a name that begins with ".wh.".
    """

    base: bytes = b""
    whiteouts: bool = True
    cross_mounts: bool = False
    keep_base: bool = False
    owner: tuple[int, int] | None = None
    keep_kinds: bool = False
    for_layer: bool = False


@dataclass
class Extracted:
    """What was written: sum of the files' sizes in bytes, entries, xattrs left out, whether the root hides what is
    below it (an opaque whiteout at the top), how many whiteouts of all kinds there were, and whether something was
    written over, so that less is there than ``size``."""

    size: int = 0
    entries: int = 0
    xattrs_dropped: int = 0
    opaque_root: bool = False
    whiteouts: int = 0
    replaced: bool = False


class Extractor:
    """Fills the directory ``root`` (a readable descriptor).

    ``reserve`` is how many bytes of the file system stay free, whatever comes.
    """

    def __init__(self, root: int, reserve: int, rules: Rules | None = None) -> None:
        self._root = root
        self._reserve = reserve
        self._rules = rules or Rules()
        self._resolve = _RESOLVE | (0 if self._rules.cross_mounts else kernel.RESOLVE_NO_XDEV)
        self._unchecked = _SPACE_EVERY
        self._parent: bytes | None = None
        self._times: dict[bytes, int] = {}
        self.extracted = Extracted()

    def run(self, reader: Reader) -> Extracted:
        """Write all entries, then the directories' times, which writing into them would have changed."""
        for entry in reader:
            try:
                self._extract(entry, reader)
            except OSError as error:
                if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.EISDIR,
                                   errno.EINVAL, errno.EPERM, errno.ENOENT, errno.EMLINK, errno.E2BIG, errno.EXDEV):
                    raise bad_archive(f"{entry.name[:200]!r} cannot be made: {error.strerror}") from error
                raise
        for path, mtime_ns in self._times.items():
            self._set_time(path, mtime_ns)
        return self.extracted

    def _extract(self, entry: Entry, reader: Reader) -> None:
        self.extracted.entries += 1
        path = self._below(entry.name)
        if path == self._rules.base:
            self._root_entry(entry)
            return
        if self._rules.owner is not None:
            entry = replace(entry, uid=self._rules.owner[0], gid=self._rules.owner[1])
        parent, _, name = path.rpartition(b"/")
        self._enter(parent)
        if self._rules.for_layer and is_whiteout(name):
            raise bad_archive(f"{entry.name[:200]!r} cannot be made: in a layer such a name hides another")
        if self._rules.whiteouts and is_whiteout(name):
            self._whiteout(parent, name, entry)
            return
        match entry.kind:
            case Kind.FILE:
                self._file(name, entry, reader)
            case Kind.DIRECTORY:
                self._directory(name, path, entry)
            case Kind.LINK:
                self._link(name, entry)
            case _:
                self._special(name, entry)

    def _root_entry(self, entry: Entry) -> None:
        if entry.kind is not Kind.DIRECTORY:
            raise bad_archive("the root is not a directory")
        if self._rules.keep_base:
            return
        self._enter(b"")
        self._describe(b".", entry)
        self._times[b"."] = entry.mtime_ns

    def _below(self, name: bytes) -> bytes:
        """Where ``name`` of the archive is in the root."""
        path = clean_name(name)
        if not self._rules.base:
            return path
        return self._rules.base + b"/" + path if path else self._rules.base

    def _enter(self, parent: bytes) -> None:
        """Make ``parent`` the working directory, and make it where it is missing."""
        if parent == self._parent:
            return
        try:
            fd = self._open(parent or b".")
        except FileNotFoundError:
            fd = self._make_parents(parent)
        os.fchdir(fd)
        os.close(fd)
        self._parent = parent

    def _open(self, path: bytes, flags: int = os.O_PATH) -> int:
        return kernel.openat2(self._root, path, flags | os.O_DIRECTORY, self._resolve)

    def _make_parents(self, parent: bytes) -> int:
        here = self._open(b".")
        prefix = b""
        for part in parent.split(b"/"):
            prefix = prefix + b"/" + part if prefix else part
            try:
                there = self._open(prefix)
            except FileNotFoundError:
                try:
                    os.mkdir(part, _IMPLIED_MODE, dir_fd=here)
                    there = self._open(prefix)
                except OSError:
                    os.close(here)
                    raise
            except OSError:
                os.close(here)
                raise
            os.close(here)
            here = there
        return here

    def _whiteout(self, parent: bytes, name: bytes, entry: Entry) -> None:
        self.extracted.whiteouts += 1
        if name == _OPAQUE:
            os.setxattr(b".", _OVERLAY_OPAQUE, b"y")
            if not parent:
                self.extracted.opaque_root = True
            return
        if name.startswith(_META):
            return  # AUFS's own bookkeeping, which old images carry; Docker passes over it too
        hidden = name[len(_WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise bad_archive(f"{entry.name[:200]!r} hides nothing")
        try:
            os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0))
        except FileExistsError:
            # A whiteout hides what is below this layer; what this layer has made there stays (layer.md, "Whiteouts").
            if stat.S_ISDIR(os.lstat(hidden).st_mode):
                os.setxattr(hidden, _OVERLAY_OPAQUE, b"y", follow_symlinks=False)

    def _file(self, name: bytes, entry: Entry, reader: Reader) -> None:
        self._need_space(0)
        try:
            fd = os.open(name, _CREATE, 0o600)
        except FileExistsError:
            self._make_room(name, entry)
            fd = os.open(name, _CREATE, 0o600)
        try:
            for offset, part in reader.data():
                self._write(fd, part, offset)
            if entry.sparse is not None:
                os.ftruncate(fd, entry.size)
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            for key, value in entry.xattrs.items():
                self._xattr(fd, key, value)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)
        self.extracted.size += entry.size

    def _write(self, fd: int, part: memoryview, offset: int) -> None:
        self._need_space(len(part))
        while part:
            written = os.pwrite(fd, part, offset)
            offset += written
            part = part[written:]

    def _need_space(self, length: int) -> None:
        self._unchecked += length
        if self._unchecked >= _SPACE_EVERY:
            self._unchecked = 0
            space = os.fstatvfs(self._root)
            if space.f_bavail * space.f_frsize < self._reserve + _SPACE_EVERY:
                raise ResourceExhausted("no space left on device", reason="NO_SPACE")

    def _directory(self, name: bytes, path: bytes, entry: Entry) -> None:
        try:
            os.mkdir(name, 0o700)
        except FileExistsError:
            status = os.lstat(name)
            if not stat.S_ISDIR(status.st_mode):
                self._make_room(name, entry)
                os.mkdir(name, 0o700)
                if self._rules.whiteouts and stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                    # Made anew after it was hidden: nothing of the lower one shows through.
                    os.setxattr(name, _OVERLAY_OPAQUE, b"y", follow_symlinks=False)
        self._describe(name, entry)
        self._times[path] = entry.mtime_ns

    def _link(self, name: bytes, entry: Entry) -> None:
        # The inode is described already: nothing of a link's header is applied (CVE-2021-32760).
        target = self._below(entry.link)
        parent, _, last = target.rpartition(b"/")
        if not last:
            raise bad_archive(f"{entry.name[:200]!r} is a link to the root")
        source = self._open(parent or b".")
        try:
            try:
                os.link(last, name, src_dir_fd=source, follow_symlinks=False)
            except FileExistsError:
                there = os.stat(last, dir_fd=source, follow_symlinks=False)
                if os.path.samestat(there, os.lstat(name)):
                    return
                self._make_room(name, entry)
                os.link(last, name, src_dir_fd=source, follow_symlinks=False)
        finally:
            os.close(source)

    def _special(self, name: bytes, entry: Entry) -> None:
        make = self._maker(name, entry)
        try:
            make()
        except FileExistsError:
            self._make_room(name, entry)
            make()
        self._describe(name, entry)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)

    @staticmethod
    def _maker(name: bytes, entry: Entry) -> Callable[[], None]:
        if entry.kind is Kind.SYMLINK:
            return lambda: os.symlink(entry.link, name)
        if entry.kind is Kind.FIFO:
            return lambda: os.mkfifo(name, 0o600)
        kind = stat.S_IFCHR if entry.kind is Kind.CHAR else stat.S_IFBLK
        major, minor = entry.device
        if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
            raise bad_archive(f"{entry.name[:200]!r} has a device number out of range")
        return lambda: os.mknod(name, kind | 0o600, os.makedev(major, minor))

    def _describe(self, name: bytes, entry: Entry) -> None:
        """Owner, then mode (chown takes set-id bits away), then xattrs (chown takes capabilities away)."""
        os.chown(name, entry.uid, entry.gid, follow_symlinks=False)
        if entry.kind is not Kind.SYMLINK:
            os.chmod(name, entry.mode)
        for key, value in entry.xattrs.items():
            self._xattr(name, key, value)

    def _xattr(self, target: int | bytes, key: bytes, value: bytes) -> None:
        """Set an xattr of the kinds that images have. Others would steer overlayfs or this host's security modules."""
        if key.startswith(_XATTRS) and not key.startswith(_XATTRS_NOT):
            try:
                os.setxattr(target, key, value, follow_symlinks=isinstance(target, int))
            except OSError as error:
                if error.errno not in _XATTR_MISFITS:
                    raise
            else:
                return
        self.extracted.xattrs_dropped += 1

    def _make_room(self, name: bytes, entry: Entry) -> None:
        """Take away what is there already."""
        if self._rules.keep_kinds:
            is_directory = stat.S_ISDIR(os.lstat(name).st_mode)
            if is_directory != (entry.kind is Kind.DIRECTORY):
                kinds = ("directory", "non-directory") if is_directory else ("non-directory", "directory")
                shown = os.fsdecode(name)
                raise InvalidArgument(f"cannot overwrite {kinds[0]} {shown!r} with {kinds[1]} {shown!r}",
                                      reason="OTHER_KIND")
        self.extracted.replaced = True
        here = os.open(b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            trees.remove_tree(here, name)
        finally:
            os.close(here)
        self._parent = None  # the path may have led through what is gone

    def _set_time(self, path: bytes, mtime_ns: int) -> None:
        try:
            fd = self._open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            return  # a later entry has put something else there
        except OSError as error:
            if error.errno == errno.ELOOP:
                return
            raise
        try:
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)

