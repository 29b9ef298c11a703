"""imaged's side of its helpers: keeps the zygote, hands out work, and sees that each has ended. On the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any, Final, Literal

from chassis.errors import Internal
from chassis.program import PARENT
from chassis.programs import PIECE
from imaged.unbroken import unbroken

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
        await _readable(self._pidfd)
        return said[-1] if said else -signal.SIGKILL


class Helpers:
    """The zygote is there from ``start`` to ``close``; one that died is started again."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None
        self._pid = 0

    @property
    def pid(self) -> int:
        """The zygote's; 0 where there is none."""
        return self._pid

    def start(self) -> None:
        self._zygote()

    @asynccontextmanager
    async def running(self, name: Name, request: Mapping[str, Any]) -> AsyncIterator[Helper]:
        """The program at work on ``request``; it has ended when the block is left."""
        for _ in range(_ATTEMPTS):
            async with contextlib.AsyncExitStack() as stack:
                helper = await self._forked(stack, name, request)
                if helper is not None:
                    yield helper
                    return
                self._bury()  # the zygote died with the request in its hands
        raise Internal(f"{name}: the helper ended before it began", reason="HELPER_DIED")

    async def _forked(
        self, stack: contextlib.AsyncExitStack, name: Name, request: Mapping[str, Any]
    ) -> Helper | None:
        """None where it never began. It has ended when ``stack`` is left, cancelled or not: it works on files that
        others may have then."""
        stdout, output = await _pipe(stack)
        stderr, error = await _pipe(stack)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        stack.callback(ours.close)
        ours.setblocking(False)
        try:
            self._send(name, request, (output, error, theirs.fileno()))
        finally:
            theirs.close()
            os.close(output)
            os.close(error)
        pidfd = await unbroken(_begun(stack, ours))
        if pidfd is None:
            return None
        status = await _reader(stack, ours.makefile("rb", buffering=0))
        return Helper(stdout, stderr, status, pidfd)

    def _send(self, name: Name, request: Mapping[str, Any], fds: tuple[int, int, int]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            control = self._zygote()
            memory = os.memfd_create("request", os.MFD_CLOEXEC)
            try:
                with open(memory, "wb", closefd=False) as file:
                    file.write(json.dumps({**request, PARENT: self._pid}).encode("ascii"))
                socket.send_fds(control, [name.encode()], [memory, *fds])
            except OSError as error:
                self._bury()
                if attempt == _ATTEMPTS:
                    raise Internal(f"{name}: the zygote takes no work: {error}", reason="HELPER_DIED") from error
            else:
                return
            finally:
                os.close(memory)

    def _zygote(self) -> socket.socket:
        if self._control is not None:
            return self._control
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        # First above what is dup'ed onto, so that no descriptor is overwritten before it is copied.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in (theirs.fileno(), null)]
        try:
            self._pid = os.posix_spawn(
                sys.executable, [sys.executable, "-I", str(_PROGRAM)], {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, high[1], 0), (os.POSIX_SPAWN_DUP2, high[1], 1),
                    (os.POSIX_SPAWN_DUP2, high[0], 3),
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
        self._control = ours
        return ours

    def _bury(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            self._pid = 0

    def close(self) -> None:
        """End the zygote, and with it every helper."""
        self._bury()


async def _begun(stack: contextlib.AsyncExitStack, channel: socket.socket) -> int | None:
    """The pidfd that the helper sends; from here on ``stack`` ends it. None where it sends none."""
    await _readable(channel.fileno())
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
    await unbroken(_readable(pidfd))


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


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def told() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, told)
    try:
        await ready
    finally:
        loop.remove_reader(fd)
