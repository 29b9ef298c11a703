"""Locks the calling process, which has one thread, into a directory: nothing of the host is reachable afterwards."""

from __future__ import annotations

import errno
import os
import resource
from typing import Final

from chassis import kernel

_CAPABILITIES: Final = (
    kernel.CAP_CHOWN, kernel.CAP_DAC_OVERRIDE, kernel.CAP_FOWNER, kernel.CAP_FSETID, kernel.CAP_MKNOD,
    kernel.CAP_SETFCAP, kernel.CAP_SYS_ADMIN,  # trusted.overlay.opaque
)
_MEMORY: Final = 2 << 30
_FILES: Final = 64


def enter(directory: int) -> int:
    """Make ``directory`` (a descriptor) the root, in a mount namespace of its own, and give up all that files do not
    need. Returns a readable descriptor of the root; ``directory`` is closed.

    The new root is a mount of its own with nodev, nosuid and noexec: what a layer holds can be made there, not used.
    """
    # Only the working directory moves along into the new namespace; a descriptor goes on meaning the old one's mount.
    os.fchdir(directory)
    os.close(directory)
    kernel.unshare(kernel.CLONE_NEWNS)
    directory = os.open(b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    kernel.mount(None, b"/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    tree = kernel.open_tree(directory, b"", kernel.OPEN_TREE_CLONE | kernel.AT_EMPTY_PATH)
    attributes = kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV | kernel.MOUNT_ATTR_NOEXEC
    kernel.mount_setattr(tree, b"", kernel.AT_EMPTY_PATH, set_=attributes)
    kernel.move_mount(tree, directory, b"")
    os.close(directory)
    os.fchdir(tree)
    os.close(tree)
    try:
        kernel.pivot_root(b".", b".")
        kernel.umount(b".", kernel.MNT_DETACH)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # An initramfs cannot be pivoted away from. Without CAP_SYS_CHROOT, below, there is no way back up either.
        kernel.mount(b".", b"/", None, kernel.MS_MOVE)
        os.chroot(b".")
    os.chdir(b"/")
    os.umask(0)
    for limit, value in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_NOFILE, _FILES), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (value, value))
    kernel.keep_capabilities(_CAPABILITIES)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    return os.open(b"/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
