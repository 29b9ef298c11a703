"""A shim takes the place of a killed one: the container's process goes on, its streams are copied from who holds them.

The process is not our child: its end is seen by a pidfd, and how it ended is the kernel's to tell (Linux 6.15), once
whoever inherited it has reaped it. Where nobody can tell, the exit's code is UNSEEN. A pidfd that execd has held since
the start tells it also of a process that has ended and gone meanwhile: what that has left in its streams is read here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Final

from chassis import kernel
from execd.shim import protocol, record
from execd.shim.loop import READ, Loop
from execd.shim.process import Process
from execd.shim.protocol import Exit, ProtocolError

_PAUSE: Final = 0.01
_TRIES: Final = 200
Ended = Callable[[Exit], None]


def take_over(loop: Loop, process: Process, message: Mapping[str, object], ended: Ended) -> None:
    """``process`` becomes the one that ``message`` names; ``ended(exit)`` is called at its end."""
    pid = protocol.number(message, "pid")
    holder = os.pidfd_open(protocol.number(message, "holder"))
    held: dict[str, int] = {}
    try:
        pidfd = _witness(pid, holder, message)
        for stream, fd in protocol.group(message, "held").items():
            if stream not in ("1", "2") or not isinstance(fd, int):
                raise ProtocolError("held: streams 1 and 2 by descriptors", "BAD_REQUEST")
            held[stream] = kernel.pidfd_getfd(holder, fd)
        process.take_over(pid, pidfd, protocol.number(message, "started"), held)
    finally:
        os.close(holder)
    loop.add(pidfd, READ, lambda _events: _gone(loop, pidfd, time.time_ns(), _TRIES, ended))


def _witness(pid: int, holder: int, message: Mapping[str, object]) -> int:
    """A pidfd of the process."""
    if "witness" in message:
        return kernel.pidfd_getfd(holder, protocol.number(message, "witness"))
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError as error:
        raise ProtocolError("the process has ended", "BAD_STATE") from error


def _gone(loop: Loop, pidfd: int, time_ns: int, tries: int, ended: Ended) -> None:
    loop.remove(pidfd)
    status = kernel.pidfd_exit_status(pidfd)
    if status is None and tries:
        loop.later(_PAUSE, lambda: _gone(loop, pidfd, time_ns, tries - 1, ended))
    elif status is None:
        ended(Exit(protocol.UNSEEN, 0, False, time_ns))
    else:
        ended(record.from_status(status, False, time_ns))
