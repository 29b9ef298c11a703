"""System calls that the platform's Python does not wrap (3.11 has no unshare, setns, mount or openat2).

One thin function per call on ctypes with ``use_errno``; each raises OSError carrying errno and the path it was given.
Paths are bytes: the kernel's file names are not text. Only the standard library is imported, since the shim and the
unpack workers load this module. Source for every call: its manual page in section 2.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterable
from typing import Final

_libc = ctypes.CDLL(None, use_errno=True)

# mount(2)
MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_REMOUNT: Final = 0x20
MS_BIND: Final = 0x1000
MS_MOVE: Final = 0x2000
MS_REC: Final = 0x4000
MS_UNBINDABLE: Final = 1 << 17
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20
# umount2(2)
MNT_DETACH: Final = 0x2
UMOUNT_NOFOLLOW: Final = 0x8
# unshare(2), setns(2), clone3(2)
CLONE_NEWTIME: Final = 0x80
CLONE_NEWNS: Final = 0x20000
CLONE_NEWCGROUP: Final = 0x2000000
CLONE_NEWUTS: Final = 0x4000000
CLONE_NEWIPC: Final = 0x8000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
# openat2(2)
RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10
# fsopen(2) family
FSOPEN_CLOEXEC: Final = 0x1
FSMOUNT_CLOEXEC: Final = 0x1
FSCONFIG_SET_FLAG: Final = 0
FSCONFIG_SET_STRING: Final = 1
FSCONFIG_SET_FD: Final = 5
FSCONFIG_CMD_CREATE: Final = 6
MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
OPEN_TREE_CLONE: Final = 0x1
OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC
AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000
AT_RECURSIVE: Final = 0x8000
# renameat2(2)
RENAME_NOREPLACE: Final = 0x1
RENAME_EXCHANGE: Final = 0x2
# inotify(7)
IN_MODIFY: Final = 0x2
IN_MOVED_TO: Final = 0x80
IN_CREATE: Final = 0x100
IN_IGNORED: Final = 0x8000
# prctl(2)
PR_SET_PDEATHSIG: Final = 1
PR_SET_NAME: Final = 15
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
# capabilities(7)
CAP_CHOWN: Final = 0
CAP_DAC_OVERRIDE: Final = 1
CAP_FOWNER: Final = 3
CAP_FSETID: Final = 4
CAP_SYS_ADMIN: Final = 21
CAP_MKNOD: Final = 27
CAP_SETFCAP: Final = 31
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAPABILITIES: Final = 64
# mount_setattr(2)
MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_NOEXEC: Final = 0x8
MOUNT_ATTR_NOATIME: Final = 0x10
# signal(2), mallopt(3)
_SIG_IGN: Final = 1
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3
# close_range(2)
CLOSE_RANGE_CLOEXEC: Final = 0x4

# x86-64 and arm64 share the numbers of everything added since Linux 5.1.
_SYS_OPEN_TREE: Final = 428
_SYS_MOVE_MOUNT: Final = 429
_SYS_FSOPEN: Final = 430
_SYS_FSCONFIG: Final = 431
_SYS_FSMOUNT: Final = 432
_SYS_CLOSE_RANGE: Final = 436
_SYS_OPENAT2: Final = 437
_SYS_PIDFD_GETFD: Final = 438
_SYS_MOUNT_SETATTR: Final = 442
_SYS_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}[os.uname().machine]
_SYS_RENAMEAT2: Final = {"x86_64": 316, "aarch64": 276}[os.uname().machine]

# <linux/pidfd.h>: _IOWR(0xFF, 11, struct pidfd_info), whose first published size is 64 bytes.
_PIDFD_INFO_SIZE: Final = 64
_PIDFD_GET_INFO: Final = (3 << 30) | (_PIDFD_INFO_SIZE << 16) | (0xFF << 8) | 11
_PIDFD_INFO_EXIT: Final = 1 << 3


def _check(result: int, path: bytes | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(path) if path is not None else None)
    return result


def _syscall(number: int, *args: object, path: bytes | None = None) -> int:
    return _check(int(_libc.syscall(ctypes.c_long(number), *args)), path)


def mount(source: bytes | None, target: bytes, fstype: bytes | None, flags: int = 0, data: bytes | None = None) -> None:
    """mount(2). ``data`` is the comma-separated option string of the file system type."""
    _check(_libc.mount(source, target, fstype, ctypes.c_ulong(flags), data), target)


def umount(target: bytes, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(target, ctypes.c_int(flags)), target)


def unshare(flags: int) -> None:
    """unshare(2): the calling thread gets namespaces of its own, named by CLONE_NEW*."""
    _check(_libc.unshare(ctypes.c_int(flags)))


def setns(fd: int, nstype: int) -> None:
    """setns(2): the calling thread enters the namespace behind ``fd``.

    A network namespace is entered only by a dedicated thread that ends afterwards, a mount namespace only by a
    process with one thread.
    """
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(nstype)))


def pivot_root(new_root: bytes, put_old: bytes) -> None:
    """pivot_root(2)."""
    _syscall(_SYS_PIVOT_ROOT, ctypes.c_char_p(new_root), ctypes.c_char_p(put_old), path=new_root)


def openat2(dirfd: int, path: bytes, flags: int, resolve: int, mode: int = 0) -> int:
    """openat2(2): a new close-on-exec descriptor for ``path`` below ``dirfd``, resolved as RESOLVE_* says.

    EAGAIN (a rename raced with the ``..`` check) is retried a bounded number of times, as the manual page advises.
    """
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(64):
        try:
            return _syscall(
                _SYS_OPENAT2, ctypes.c_int(dirfd), ctypes.c_char_p(path), ctypes.c_char_p(how),
                ctypes.c_size_t(len(how)), path=path,
            )
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                raise
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), os.fsdecode(path))


def fsopen(fstype: bytes) -> int:
    """fsopen(2): a new, close-on-exec file system configuration context."""
    return _syscall(_SYS_FSOPEN, ctypes.c_char_p(fstype), ctypes.c_uint(FSOPEN_CLOEXEC))


def fsconfig_string(fd: int, key: bytes, value: bytes) -> None:
    """fsconfig(2) FSCONFIG_SET_STRING; the value may be 255 bytes long at most."""
    _syscall(
        _SYS_FSCONFIG, ctypes.c_int(fd), ctypes.c_uint(FSCONFIG_SET_STRING), ctypes.c_char_p(key),
        ctypes.c_char_p(value), ctypes.c_int(0), path=value,
    )


def fsconfig_flag(fd: int, key: bytes) -> None:
    """fsconfig(2) FSCONFIG_SET_FLAG."""
    _syscall(
        _SYS_FSCONFIG, ctypes.c_int(fd), ctypes.c_uint(FSCONFIG_SET_FLAG), ctypes.c_char_p(key), None, ctypes.c_int(0)
    )


def fsconfig_fd(fd: int, key: bytes, value: int) -> None:
    """fsconfig(2) FSCONFIG_SET_FD (overlayfs layers as descriptors need Linux 6.13)."""
    _syscall(
        _SYS_FSCONFIG, ctypes.c_int(fd), ctypes.c_uint(FSCONFIG_SET_FD), ctypes.c_char_p(key), None,
        ctypes.c_int(value),
    )


def fsconfig_create(fd: int) -> None:
    """fsconfig(2) FSCONFIG_CMD_CREATE: makes the superblock."""
    _syscall(
        _SYS_FSCONFIG, ctypes.c_int(fd), ctypes.c_uint(FSCONFIG_CMD_CREATE), None, None, ctypes.c_int(0)
    )


def fsmount(fd: int, attributes: int = 0) -> int:
    """fsmount(2): a detached mount; ``attributes`` are MOUNT_ATTR_*."""
    return _syscall(_SYS_FSMOUNT, ctypes.c_int(fd), ctypes.c_uint(FSMOUNT_CLOEXEC), ctypes.c_uint(attributes))


def open_tree(dirfd: int, path: bytes, flags: int) -> int:
    """open_tree(2): with OPEN_TREE_CLONE a detached bind mount of ``path``."""
    return _syscall(
        _SYS_OPEN_TREE, ctypes.c_int(dirfd), ctypes.c_char_p(path), ctypes.c_uint(flags | OPEN_TREE_CLOEXEC), path=path
    )


def move_mount(from_fd: int, to_dirfd: int, to_path: bytes) -> None:
    """move_mount(2): attaches the detached mount ``from_fd`` at ``to_path``; an empty path is ``to_dirfd`` itself."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0x40 if not to_path else 0)
    _syscall(
        _SYS_MOVE_MOUNT, ctypes.c_int(from_fd), ctypes.c_char_p(b""), ctypes.c_int(to_dirfd),
        ctypes.c_char_p(to_path), ctypes.c_uint(flags), path=to_path,
    )


def mount_setattr(dirfd: int, path: bytes, flags: int, set_: int = 0, clear: int = 0, propagation: int = 0) -> None:
    """mount_setattr(2): MOUNT_ATTR_* set and cleared, propagation MS_*; ``flags`` AT_RECURSIVE | AT_EMPTY_PATH."""
    attr = struct.pack("=QQQQ", set_, clear, propagation, 0)
    _syscall(
        _SYS_MOUNT_SETATTR, ctypes.c_int(dirfd), ctypes.c_char_p(path), ctypes.c_uint(flags), ctypes.c_char_p(attr),
        ctypes.c_size_t(len(attr)), path=path,
    )


def renameat2(old_dirfd: int, old: bytes, new_dirfd: int, new: bytes, flags: int) -> None:
    """renameat2(2) with RENAME_NOREPLACE or RENAME_EXCHANGE."""
    _syscall(
        _SYS_RENAMEAT2, ctypes.c_int(old_dirfd), ctypes.c_char_p(old), ctypes.c_int(new_dirfd), ctypes.c_char_p(new),
        ctypes.c_uint(flags), path=new,
    )


def prctl(option: int, value: int) -> None:
    """prctl(2) with one integer argument."""
    zero = ctypes.c_ulong(0)
    _check(_libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero))


def ignore_signals(numbers: Iterable[int]) -> None:
    """signal(2) with SIG_IGN. The interpreter's own way goes through enumerations, which a forked child would copy."""
    for number in numbers:
        _libc.signal(ctypes.c_int(number), ctypes.c_void_p(_SIG_IGN))


def keep_heap_small() -> None:
    """mallopt(3): give blocks of 48 KiB and more back to the kernel when they are freed, and the heap's end too."""
    for parameter, value in ((_M_MMAP_THRESHOLD, 48 << 10), (_M_TRIM_THRESHOLD, 32 << 10), (_M_TOP_PAD, 0)):
        _libc.mallopt(ctypes.c_int(parameter), ctypes.c_int(value))


def set_process_name(name: bytes) -> None:
    """prctl(2) PR_SET_NAME: the 15 bytes that ``ps -o comm`` shows."""
    _check(_libc.prctl(ctypes.c_int(PR_SET_NAME), ctypes.c_char_p(name[:15])))


def keep_capabilities(keep: Iterable[int]) -> None:
    """capset(2) and PR_CAPBSET_DROP: this process has at most the capabilities ``keep`` (CAP_*), and never more again.

    Nothing is inherited by a program that it executes.
    """
    wanted = sum(1 << capability for capability in set(keep))
    head = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    now = ctypes.create_string_buffer(24)
    _check(_libc.capget(head, now))
    _, low, _, _, high, _ = struct.unpack("=6I", now.raw)
    for capability in range(_CAPABILITIES):
        if not wanted >> capability & 1:
            try:
                prctl(PR_CAPBSET_DROP, capability)
            except OSError as error:
                if error.errno == errno.EINVAL:  # past the kernel's last one
                    break
                raise
    wanted &= low | high << 32
    low, high = wanted & 0xFFFFFFFF, wanted >> 32
    _check(_libc.capset(head, struct.pack("=6I", low, low, 0, high, high, 0)))


def close_all_but(keep: Iterable[int]) -> None:
    """Close every descriptor of this process that is not in ``keep`` (close_range(2) over the gaps).

    The first act of a forked child: a fork ignores close-on-exec.
    """
    first = 0
    for fd in sorted(set(keep)):
        if fd > first:
            _close_range(first, fd - 1)
        first = fd + 1
    _close_range(first, 0xFFFFFFFF)


def _close_range(first: int, last: int) -> None:
    _syscall(_SYS_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(last), ctypes.c_uint(0))


def inotify_init() -> int:
    """inotify_init1(2): a new descriptor, close-on-exec and non-blocking."""
    return _check(int(_libc.inotify_init1(ctypes.c_int(os.O_CLOEXEC | os.O_NONBLOCK))))


def inotify_add_watch(fd: int, path: bytes, mask: int) -> int:
    """inotify_add_watch(2): the watch's number; ``mask`` is of IN_*."""
    return _check(int(_libc.inotify_add_watch(ctypes.c_int(fd), ctypes.c_char_p(path), ctypes.c_uint32(mask))), path)


def inotify_rm_watch(fd: int, watch: int) -> None:
    """inotify_rm_watch(2). Nothing where the kernel has taken it away already, with its directory."""
    _libc.inotify_rm_watch(ctypes.c_int(fd), ctypes.c_int(watch))


def syncfs(fd: int) -> None:
    """syncfs(2): the file system that ``fd`` lies on is on disk when this returns."""
    _check(_libc.syncfs(ctypes.c_int(fd)))


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """pidfd_getfd(2): a copy, close-on-exec, of the other process's descriptor ``fd``."""
    return _check(int(_libc.syscall(ctypes.c_long(_SYS_PIDFD_GETFD), ctypes.c_int(pidfd), ctypes.c_int(fd),
                                    ctypes.c_uint(0))))


def pidfd_exit_status(pidfd: int) -> int | None:
    """The wait status of the ended process behind ``pidfd``, also for one that is not our child.

    None where it still runs, or where the kernel is older than 6.15 and cannot tell (PIDFD_GET_INFO).
    """
    buffer = bytearray(_PIDFD_INFO_SIZE)
    struct.pack_into("=Q", buffer, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, buffer)
    except OSError:
        return None
    (mask,) = struct.unpack_from("=Q", buffer, 0)
    if not mask & _PIDFD_INFO_EXIT:
        return None
    # mask u64, cgroupid u64, pid tgid ppid ruid rgid euid egid suid sgid fsuid fsgid u32 × 11, exit_code s32
    (status,) = struct.unpack_from("=i", buffer, 16 + 11 * 4)
    return int(status)
