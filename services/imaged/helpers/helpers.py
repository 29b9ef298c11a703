"""imaged's side of its helpers: keeps the zygote, hands out work, and sees that each has ended. On the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any, Final, Literal

from chassis.errors import Internal
from chassis.programs import PIECE
from imaged.unbroken import unbroken
from imaged.zygotes import Zygote, readable

_PROGRAM: Final = Path(__file__).with_name("zygote.py")
_ATTEMPTS: Final = 2
Name = Literal["diff", "files"]


class Helper:
    """One at work, as asyncio's process of a program that was started anew."""

    def __init__(
        self, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader, status: asyncio.StreamReader, pidfd: int
    ) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self._status = status
        self._pidfd = pidfd

    async def wait(self) -> int:
        """Its exit status when it has ended; negative for one that was killed."""
        said = await self._status.read()
        await readable(self._pidfd)
        return said[-1] if said else -signal.SIGKILL


class Helpers:
    """The zygote is there from ``start`` to ``close``; one that died is started again."""

    def __init__(self) -> None:
        self._zygote = Zygote(_PROGRAM)

    @property
    def pid(self) -> int:
        """The zygote's; 0 where there is none."""
        return self._zygote.pid

    def start(self) -> None:
        self._zygote.start()

    @asynccontextmanager
    async def running(self, name: Name, request: Mapping[str, Any]) -> AsyncIterator[Helper]:
        """The program at work on ``request``; it has ended when the block is left."""
        for _ in range(_ATTEMPTS):
            async with contextlib.AsyncExitStack() as stack:
                zygote, helper = await self._forked(stack, name, request)
                if helper is not None:
                    yield helper
                    return
                await self._zygote.bury(zygote)  # it died with the request in its hands
        raise Internal(f"{name}: the helper ended before it began", reason="HELPER_DIED")

    async def _forked(
        self, stack: contextlib.AsyncExitStack, name: Name, request: Mapping[str, Any]
    ) -> tuple[int, Helper | None]:
        """With the pid of the zygote that was asked; no helper where it never began. It has ended when ``stack`` is
        left, cancelled or not: it works on files that others may have then."""
        stdout, output = await _pipe(stack)
        stderr, error = await _pipe(stack)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        stack.callback(ours.close)
        ours.setblocking(False)
        try:
            memory = _written(request)
            try:
                zygote = await self._zygote.send(name.encode(), [memory, output, error, theirs.fileno()])
            finally:
                os.close(memory)
        finally:
            theirs.close()
            os.close(output)
            os.close(error)
        pidfd = await unbroken(_begun(stack, ours))
        if pidfd is None:
            return zygote, None
        status = await _reader(stack, ours.makefile("rb", buffering=0))
        return zygote, Helper(stdout, stderr, status, pidfd)

    async def close(self) -> None:
        """End the zygote, and with it every helper."""
        await self._zygote.close()


def _written(request: Mapping[str, Any]) -> int:
    """A file in memory with the request."""
    memory = os.memfd_create("request", os.MFD_CLOEXEC)
    with open(memory, "wb", closefd=False) as file:
        file.write(json.dumps(request).encode("ascii"))
    return memory


async def _begun(stack: contextlib.AsyncExitStack, channel: socket.socket) -> int | None:
    """The pidfd that the helper sends; from here on ``stack`` ends it. None where it sends none."""
    await readable(channel.fileno())
    first, ancillary, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    fds = [fd for _, _, raw in ancillary for fd in memoryview(raw).cast("i")]
    if not first or len(fds) != 1:
        return None
    stack.callback(os.close, fds[0])
    stack.push_async_callback(_end, fds[0])
    return fds[0]


async def _end(pidfd: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    await unbroken(readable(pidfd))


async def _pipe(stack: contextlib.AsyncExitStack) -> tuple[asyncio.StreamReader, int]:
    """A reader, and the descriptor to write to, which the caller closes."""
    read, write = os.pipe2(os.O_CLOEXEC)
    return await _reader(stack, os.fdopen(read, "rb", buffering=0)), write


async def _reader(stack: contextlib.AsyncExitStack, file: RawIOBase) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(PIECE)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), file)
    stack.callback(transport.close)
    return reader
