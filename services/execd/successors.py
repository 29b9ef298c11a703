"""Successors of killed shims: execd holds copies of the ends of each container's output, so that no pipe breaks and
what is written waits in it, and has another shim go on with them. What the killed one had read and not yet logged is in
its intake (execd.shim.intake).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import stat
from collections.abc import Mapping
from typing import Any, Final

from chassis import kernel
from chassis.errors import PierError
from chassis.logs import logger
from execd.records import Entry
from execd.shim.protocol import ShimSpec
from execd.shims import ShimLink, Zygote, is_alive

_DEAD_WITHIN: Final = 2000


def hold(entry: Entry, link: ShimLink, held: Mapping[str, int]) -> None:
    """Copy the descriptors ``held`` of the shim's. A shim of which they cannot be copied has no successor."""
    if entry.held or not held:
        return
    try:
        pidfd = os.pidfd_open(link.pid)
    except OSError:
        return
    try:
        for stream, fd in held.items():
            entry.held[stream] = kernel.pidfd_getfd(pidfd, fd)
            mode = os.fstat(entry.held[stream]).st_mode
            if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):  # closed meanwhile, and the number is another's
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    except OSError as error:
        let_go(entry)
        if error.errno != errno.EBADF:  # the process has ended, or has closed its output
            logger().warning("a container's output is not held", container=entry.id, error=error.strerror)
    finally:
        os.close(pidfd)


def let_go(entry: Entry) -> None:
    """The life has ended, or is left to another execd."""
    while entry.held:
        os.close(entry.held.popitem()[1])


async def fork(
    zygote: Zygote, link: ShimLink, spec: ShimSpec, entry: Entry, place: Mapping[str, Any]
) -> bool:
    """Have a new shim at ``link`` take over the container, which runs or has just ended; False, and no shim is left,
    where that cannot be."""
    status = entry.container.status
    witness = {"witness": entry.pidfd} if entry.pidfd >= 0 else {}
    try:
        await zygote.fork(link, spec)
        await link.ask(
            "take_over", pid=status.pid, started=status.started_at.ToNanoseconds(), holder=os.getpid(), held=entry.held,
            **witness, **place,
        )
    except (PierError, OSError) as error:
        logger().warning("a killed shim has no successor", container=entry.id, error=str(error))
        await dismiss(link)
        return False
    return True


async def dismiss(link: ShimLink) -> None:
    """End a shim that holds nothing, and return when another can be in its place."""
    link.released = True
    if link.pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(link.pid, signal.SIGKILL)
    await link.close()
    for _ in range(_DEAD_WITHIN):
        if not is_alive(link.run_dir):
            return
        await asyncio.sleep(0.005)
