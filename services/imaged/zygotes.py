"""A zygote: a program of imaged's own that has imported everything and forks whoever does the work.

It has one thread and a SOCK_SEQPACKET socket as descriptor 3, over which it gets messages with descriptors; it ends
when that is closed, or with imaged. One that has died is started again with the next message. On the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chassis.errors import Internal
from imaged.unbroken import unbroken

_CONTROL: Final = 3
_ABOVE: Final = 64
"""Descriptors are first copied to here and above: none is overwritten before it was handed on."""
_ATTEMPTS: Final = 2


class Zygote:
    """The process of ``program``, a file, with the descriptors ``inherited`` as 4 and on. Whoever made it ends it."""

    def __init__(self, program: Path, inherited: Sequence[int] = ()) -> None:
        self._program = program
        self._inherited = tuple(inherited)
        self._control: socket.socket | None = None
        self._pid = 0
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int:
        """0 where there is none."""
        return self._pid

    def start(self) -> None:
        """Start it where it is not there."""
        if self._control is None:
            self._control = self._started()

    async def send(self, message: bytes, fds: Sequence[int]) -> int:
        """Hand over a message; the pid of the process that has it. Internal (HELPER_DIED) where none takes it."""
        async with self._turn:
            for attempt in range(1, _ATTEMPTS + 1):
                self.start()
                pid = self._pid
                try:
                    await self._hand_over(message, fds)
                except OSError as error:
                    await self._bury(pid)
                    if attempt == _ATTEMPTS:
                        raise Internal(f"{self._program.parent.name}: the zygote takes no work: {error}",
                                       reason="HELPER_DIED") from error
                else:
                    return pid
        raise AssertionError("unreachable")

    async def _hand_over(self, message: bytes, fds: Sequence[int]) -> None:
        assert self._control is not None
        while True:
            try:
                socket.send_fds(self._control, [message], fds)
            except BlockingIOError:
                await _ready(self._control.fileno(), to_write=True)  # it has many to take still
            else:
                return

    async def bury(self, pid: int) -> None:
        """End the process ``pid``, and with it all that it has forked; nothing where another one is there by now."""
        async with self._turn:
            await self._bury(pid)

    async def _bury(self, pid: int) -> None:
        if not pid or pid != self._pid:
            return
        if self._control is not None:
            self._control.close()
        self._control, self._pid = None, 0
        await unbroken(_reaped(pid))

    async def close(self) -> None:
        """End it; a message would start it again."""
        await self.bury(self._pid)

    def _started(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        wanted = (theirs.fileno(), *self._inherited)
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for fd in (null, *wanted)]
        try:
            self._pid = os.posix_spawn(
                sys.executable, [sys.executable, "-I", str(self._program)],
                {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, high[0], 0), (os.POSIX_SPAWN_DUP2, high[0], 1),
                    *((os.POSIX_SPAWN_DUP2, fd, _CONTROL + index) for index, fd in enumerate(high[1:])),
                ],
                setsigmask=[], setsigdef=[signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM],
            )
        except BaseException:
            ours.close()
            raise
        finally:
            for fd in (*high, null):
                os.close(fd)
            theirs.close()
        ours.setblocking(False)
        return ours


async def _reaped(pid: int) -> None:
    """Kill a child and take its status, without the loop's waiting for it."""
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        await readable(pidfd)
    finally:
        os.close(pidfd)
    _take_status(pid)


def _take_status(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


async def readable(fd: int) -> None:
    """Wait until there is something to read: of a pidfd, its process's end."""
    await _ready(fd, to_write=False)


async def _ready(fd: int, *, to_write: bool) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def told() -> None:
        if not ready.done():
            ready.set_result(None)

    add, remove = (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
    add(fd, told)
    try:
        await ready
    finally:
        remove(fd)
