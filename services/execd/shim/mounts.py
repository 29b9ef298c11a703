"""The shim's own mount namespace: the host's mounts as a slave, the rootfs on top, seen by nobody else.

When shim and container are gone the kernel takes these mounts away, whatever died in which order.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from typing import Final

from chassis import kernel, overlay
from execd.shim.protocol import FOREIGN, MountEntry, ProtocolError

_HYBRID: Final = b"/sys/fs/cgroup/unified"
_FLAGS: Final = {"ro": 0x1, "nosuid": 0x2, "nodev": 0x4, "noexec": 0x8, "noatime": 0x10}
"""mount(8)'s words as MOUNT_ATTR_*, which equal MS_* but for noatime."""
_PROPAGATION: Final = {
    "shared": kernel.MS_SHARED, "rshared": kernel.MS_SHARED, "slave": kernel.MS_SLAVE, "rslave": kernel.MS_SLAVE,
    "private": kernel.MS_PRIVATE, "rprivate": kernel.MS_PRIVATE,
}
_BINDS: Final = "@/"
_SUBPATH: Final = "subpath="
_BY_NAME: Final = ("tmpfs", "nfs", "nfs4")
"""Types that mount(2) takes as they are."""


def enter() -> None:
    """Leave the host's mount namespace for a copy into which the host's later mounts propagate, and nothing back.

    On a hybrid cgroup layout the empty v2 hierarchy is taken off here: crun 1.8 refuses a machine that shows both.
    Newer ones make a container's directory where it was, and fail where systemd keeps what lies below read-only: they
    are given a place for it, which goes with the shim.
    """
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount(None, b"/", None, kernel.MS_REC | kernel.MS_SLAVE)
    if os.path.exists(_HYBRID + b"/cgroup.procs"):
        kernel.umount(_HYBRID, kernel.MNT_DETACH)
        kernel.mount(b"tmpfs", _HYBRID, b"tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, b"mode=700,size=64k")


def prepare(entries: Iterable[MountEntry]) -> dict[MountEntry, int]:
    """Detached copies of the binds that ask for shared propagation, taken before ``enter``: only so are they peers of
    the host's mounts, and mounts made below them inside the container reach the host."""
    peers: dict[MountEntry, int] = {}
    for entry in entries:
        if entry.type == "bind" and {"shared", "rshared"} & set(entry.options):
            peers[entry] = _clone(entry)
    return peers


def mount_all(entries: Iterable[MountEntry], peers: dict[MountEntry, int], run_dir: str) -> None:
    """Make every mount, in order. ProtocolError (MOUNT_FAILED) names the first that the kernel refused, and why."""
    root = os.path.join(run_dir, "rootfs")
    os.makedirs(root, mode=0o755, exist_ok=True)
    for entry in entries:
        try:
            target = _open_target(entry, root, run_dir)
            try:
                _mount(entry, target, peers)
            finally:
                os.close(target)
        except OSError as error:
            raise ProtocolError(
                f"mount {entry.type} {entry.source} at {entry.target or '/'}: {error.strerror or error}", "MOUNT_FAILED"
            ) from error


def leave(run_dir: str) -> None:
    """Take the rootfs and the clones off again, so that its upper directory is free for the next life although this
    shim may stay for a slow client."""
    targets = [os.path.join(run_dir, "rootfs")]
    binds = os.path.join(run_dir, "binds")
    if os.path.isdir(binds):
        targets += [os.path.join(binds, name) for name in os.listdir(binds)]
    for target in targets:
        try:
            kernel.umount(os.fsencode(target), kernel.MNT_DETACH | kernel.UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise


def _open_target(entry: MountEntry, root: str, run_dir: str) -> int:
    """The mount point as a descriptor, found below the rootfs whatever links an image planted there."""
    if entry.target.startswith(_BINDS):
        base, name = os.path.join(run_dir, "binds"), entry.target[len(_BINDS) :]
        if not name.isalnum():
            raise OSError(errno.EINVAL, "a bind's name is letters and digits")
        os.makedirs(base, mode=0o700, exist_ok=True)
        path = os.path.join(base, name)
        if entry.type != "bind" or is_directory(entry):
            os.makedirs(path, exist_ok=True)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        return os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if not entry.target.strip("/"):
        return directory
    try:
        resolve = kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS
        return kernel.openat2(directory, os.fsencode(entry.target.strip("/")), os.O_PATH, resolve)
    finally:
        os.close(directory)


def _mount(entry: MountEntry, target: int, peers: dict[MountEntry, int]) -> None:
    if entry.type == "bind":
        tree = peers.pop(entry, -1)
        _attach_bind(entry, tree if tree >= 0 else _clone(entry), target)
    elif entry.type == FOREIGN:
        tree = _clone_foreign(entry)
        try:
            kernel.move_mount(tree, target, b"")
        finally:
            os.close(tree)
    elif entry.type == "overlay":
        _mount_overlay(entry, target)
    elif entry.type in _BY_NAME:
        flags, data = _split_options(entry.options)
        kernel.mount(
            os.fsencode(entry.source), b"/proc/self/fd/%d" % target, entry.type.encode(), overlay.mount_flags(flags),
            os.fsencode(",".join(data)),
        )
    else:
        raise OSError(errno.EINVAL, f"mounts of type {entry.type} are not built")


def _split_options(options: Iterable[str]) -> tuple[int, list[str]]:
    """(MOUNT_ATTR_* flags, the file system's own options)."""
    flags, rest = 0, []
    for option in options:
        if option in _FLAGS:
            flags |= _FLAGS[option]
        elif option not in ("rw", "bind", "rbind") and option not in _PROPAGATION and not option.startswith(_SUBPATH):
            rest.append(option)
    return flags, rest


def _clone_foreign(entry: MountEntry) -> int:
    """A detached copy of the mount at the one path in ``options``, out of the mount namespace at ``source``: the kernel
    copies only what the caller's own namespace shows. No link in it is followed."""
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        other = os.open(entry.source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.setns(other, kernel.CLONE_NEWNS)
        finally:
            os.close(other)
        try:
            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                place = kernel.openat2(root, os.fsencode(entry.options[0].strip("/")), os.O_PATH | os.O_DIRECTORY,
                                       kernel.RESOLVE_NO_SYMLINKS)
            finally:
                os.close(root)
            try:
                if "mountpoint" in entry.options and not _is_mountpoint(place):
                    raise OSError(errno.ENOENT, "it is mounted there no more")
                return kernel.open_tree(place, b"", kernel.OPEN_TREE_CLONE | kernel.AT_EMPTY_PATH)
            finally:
                os.close(place)
        finally:
            kernel.setns(own, kernel.CLONE_NEWNS)
    finally:
        os.close(own)


def _is_mountpoint(place: int) -> bool:
    above = os.open(b"..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
    try:
        return os.fstat(above).st_dev != os.fstat(place).st_dev
    finally:
        os.close(above)


def _clone(entry: MountEntry) -> int:
    flags = kernel.OPEN_TREE_CLONE | (kernel.AT_RECURSIVE if "rbind" in entry.options else 0)
    place = _open_source(entry)
    try:
        return kernel.open_tree(place, b"", flags | kernel.AT_EMPTY_PATH)
    finally:
        os.close(place)


def is_directory(entry: MountEntry) -> bool:
    """Whether what a bind binds is one."""
    place = _open_source(entry)
    try:
        return stat.S_ISDIR(os.fstat(place).st_mode)
    finally:
        os.close(place)


def _open_source(entry: MountEntry) -> int:
    """What a bind binds. A part of its source is found within it, whatever links a container planted there."""
    path = next((option[len(_SUBPATH):] for option in entry.options if option.startswith(_SUBPATH)), "")
    source = os.open(entry.source, os.O_PATH | os.O_CLOEXEC)
    if not path:
        return source
    try:
        resolve = kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_MAGICLINKS
        return kernel.openat2(source, os.fsencode(path), os.O_PATH, resolve)
    finally:
        os.close(source)


def _attach_bind(entry: MountEntry, tree: int, target: int) -> None:
    try:
        flags, unknown = _split_options(entry.options)
        if unknown:
            raise OSError(errno.EINVAL, f"unknown option {unknown[0]}")
        propagation = next((_PROPAGATION[o] for o in entry.options if o in _PROPAGATION), kernel.MS_SLAVE)
        recursive = kernel.AT_RECURSIVE if "rbind" in entry.options else 0
        if flags or propagation != kernel.MS_SHARED:
            kernel.mount_setattr(
                tree, b"", kernel.AT_EMPTY_PATH | recursive, set_=flags,
                propagation=0 if propagation == kernel.MS_SHARED else propagation,
            )
        kernel.move_mount(tree, target, b"")
    finally:
        os.close(tree)


def _mount_overlay(entry: MountEntry, target: int) -> None:
    flags, options = _split_options(entry.options)
    lowers = [option[len("lowerdir+=") :] for option in options if option.startswith("lowerdir+=")]
    others = [option for option in options if not option.startswith("lowerdir+=")]
    if not lowers or any(option.startswith("lowerdir=") for option in others):
        raise OSError(errno.EINVAL, "an overlay names its layers by lowerdir+=")
    overlay.attach(overlay.Overlay(entry.source, lowers, others, flags), target)
