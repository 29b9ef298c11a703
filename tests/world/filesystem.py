"""A world's file system: the host's, read-only, and fresh directories where a host keeps what changes."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import Final

from chassis import kernel, mountinfo
from tests.world import NAMESERVER, cgroups

_ATTR_RDONLY: Final = 0x1  # MOUNT_ATTR_RDONLY
_FRESH: Final = {Path("/var/lib"): 0o755, Path("/var/tmp"): 0o1777}
_TMPFS: Final = {Path("/run"): 0o755, Path("/tmp"): 0o1777, Path("/dev/shm"): 0o1777}
_HIDDEN: Final = (Path("/dev/pts"), Path("/sys"), Path("/proc"))  # mounted anew: what the host has there must go
_QUIET: Final = kernel.MS_NOSUID | kernel.MS_NODEV


def make(scratch: Path, groups: cgroups.WorldCgroups) -> None:
    """Give the calling process, alone in a new mount namespace, the world's files; ``scratch`` lies on disk."""
    kernel.mount(None, b"/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    own = [Path.cwd(), Path(sys.prefix)]
    kept = [(path, _clone(path)) for path in own]
    packages = _clone(Path("/var/lib/dpkg"))
    disk = {path: _clone(_subdirectory(scratch, path, mode)) for path, mode in _FRESH.items()}
    for path in (*_HIDDEN, *_TMPFS):
        _detach(path)
    kernel.mount_setattr(kernel.AT_FDCWD, b"/", kernel.AT_RECURSIVE, set_=_ATTR_RDONLY)

    for path, mode in _TMPFS.items():
        kernel.mount(b"tmpfs", os.fsencode(path), b"tmpfs", _QUIET, b"mode=%o" % mode)
    for path, fd in disk.items():
        _attach(fd, path)
    Path("/var/lib/dpkg").mkdir()
    kernel.mount_setattr(packages, b"", kernel.AT_EMPTY_PATH, set_=_ATTR_RDONLY)
    _attach(packages, Path("/var/lib/dpkg"))

    kernel.mount(b"proc", b"/proc", b"proc", _QUIET | kernel.MS_NOEXEC)
    kernel.mount(b"sysfs", b"/sys", b"sysfs", _QUIET | kernel.MS_NOEXEC)
    groups.mount()
    kernel.mount(b"devpts", b"/dev/pts", b"devpts", kernel.MS_NOSUID | kernel.MS_NOEXEC, b"mode=620,gid=5,ptmxmode=666")

    for path, fd in kept:
        # Below /tmp or /run it is hidden by now and needs a place; elsewhere it is there already.
        path.mkdir(parents=True, exist_ok=True)
        _attach(fd, path)
    os.chdir(own[0])
    Path("/run/world").mkdir()
    Path("/run/lock").mkdir(mode=0o1777)
    _resolver()


def _clone(path: Path) -> int:
    return kernel.open_tree(kernel.AT_FDCWD, os.fsencode(path), kernel.OPEN_TREE_CLONE | kernel.AT_RECURSIVE)


def _detach(path: Path) -> None:
    """Take away what is mounted at ``path``, however often, with all below."""
    while True:
        try:
            kernel.umount(os.fsencode(path), kernel.MNT_DETACH)
        except OSError as error:
            if error.errno == errno.EINVAL:  # not, or no longer, a mount point
                return
            raise


def _attach(fd: int, path: Path) -> None:
    kernel.move_mount(fd, kernel.AT_FDCWD, os.fsencode(path))
    os.close(fd)


def _subdirectory(scratch: Path, path: Path, mode: int) -> Path:
    made = scratch / path.name
    made.mkdir()
    made.chmod(mode)
    if _is_overlay(made):
        # An overlay cannot be another's upper directory: on such a host memory has to do.
        kernel.mount(b"tmpfs", os.fsencode(made), b"tmpfs", _QUIET, b"mode=%o" % mode)
    return made


def _is_overlay(path: Path) -> bool:
    device = os.stat(path).st_dev
    return any(mount.device == device and mount.kind == "overlay" for mount in mountinfo.own())


def _resolver() -> None:
    """The world's name server is the outside host's address; the host's own cannot be reached from here."""
    text = Path("/run/world/resolv.conf")
    text.write_text(f"nameserver {NAMESERVER}\n")
    target = Path("/etc/resolv.conf").resolve()
    if target.exists() and stat.S_ISREG(target.stat().st_mode):
        kernel.mount(os.fsencode(text), os.fsencode(target), None, kernel.MS_BIND)
