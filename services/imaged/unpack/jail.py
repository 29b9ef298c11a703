"""Locks the calling process, which has one thread, into a directory: nothing of the host is reachable afterwards."""

from __future__ import annotations

import os
from typing import Final

from chassis import jail, kernel

_CAPABILITIES: Final = (
    *jail.OF_FILES, kernel.CAP_SYS_ADMIN,  # trusted.overlay.opaque
)
_MEMORY: Final = 2 << 30


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
    jail.enter_working_directory()
    jail.confine(_CAPABILITIES, memory=_MEMORY)
    return os.open(b"/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
