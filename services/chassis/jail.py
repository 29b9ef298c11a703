"""Locking a process that has one thread into a directory. Only the standard library is imported."""

from __future__ import annotations

import errno
import os
import resource
import sys
from collections.abc import Iterable
from typing import Final

from chassis import kernel

OF_FILES: Final = (
    kernel.CAP_CHOWN, kernel.CAP_DAC_OVERRIDE, kernel.CAP_FOWNER, kernel.CAP_FSETID, kernel.CAP_MKNOD,
    kernel.CAP_SETFCAP,
)
"""What reading and making files of any owner and kind takes."""
_FILES: Final = 64


def enter_working_directory() -> None:
    """Make the working directory, which is a mount's root, the root of this mount namespace, with nothing beside it."""
    try:
        kernel.pivot_root(b".", b".")
        kernel.umount(b".", kernel.MNT_DETACH)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # An initramfs cannot be pivoted away from. Without CAP_SYS_CHROOT there is no way back up either.
        kernel.mount(b".", b"/", None, kernel.MS_MOVE)
        os.chroot(b".")
    os.chdir(b"/")


def confine(capabilities: Iterable[int], *, memory: int) -> None:
    """Give up all but ``capabilities``, ``memory`` bytes of address space and a few descriptors. Nothing is imported
    from here on: a module found in this root would be a stranger's."""
    os.umask(0)
    for limit, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_NOFILE, _FILES), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (value, value))
    kernel.keep_capabilities(tuple(capabilities))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    sys.meta_path.clear()
