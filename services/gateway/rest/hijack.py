"""Docker's hijacked streams: the HTTP connection becomes the attach protocol's, spliced to the shim's socket.

Both directions carry bytes as they are: the shim frames output where there is no terminal. A client's half-close goes
on to the shim and output goes on until the shim closes; a client that is gone is dropped, and the process does not
notice. Nothing of aiohttp is in between, and no more than a buffer's worth is held, so that a slow client slows the
shim's writing and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import select
import socket
import struct
import termios
from typing import Any, Final

from aiohttp import web

from chassis.errors import InvalidArgument
from gateway.rest.call import MULTIPLEXED, RAW, Call, standing_headers
from gateway.rest.protocol import Handler, Taken
from gateway.rest.versions import Version

_CHUNK: Final = 256 << 10
_FAIR: Final = 4 << 20
"""Bytes after which the other connections of the loop have a turn."""
_LINGER: Final = 1.0
"""Seconds that a client has to close after the last byte of output."""
_HEAD_SECONDS: Final = 10.0
"""How long output waits at most until a client has read the head."""
_HEAD_PAUSES: Final = (0.0005, 0.02)  # seconds, the first doubled up to the last
_MULTIPLEXED_SINCE: Final = Version(1, 42)


class Hijacked(web.StreamResponse):
    """What a handler returns when its connection is no HTTP connection any more: there is nothing to send."""

    def __init__(self, status: int) -> None:
        super().__init__(status=status)
        self._body_length = 0

    @property
    def prepared(self) -> bool:
        return True

    @property
    def keep_alive(self) -> bool:
        return False

    async def prepare(self, request: web.BaseRequest) -> Any:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


async def upgrade(call: Call, *, terminal: bool, standing: bool = False) -> tuple[Taken, Hijacked]:
    """Take the connection over and send the head: 101 where the client asked for it, else 200. With ``standing`` the
    headers of other answers stand in it, too."""
    handler = call.http.protocol
    if not isinstance(handler, Handler) or not handler.can_hijack:
        raise InvalidArgument("this connection cannot become a stream", reason="BAD_REQUEST")
    kind = MULTIPLEXED if handler.upgrade and not terminal and call.version >= _MULTIPLEXED_SINCE else RAW
    lines = [f"Content-Type: {kind}"]
    if handler.upgrade:
        status = 101
        lines = ["HTTP/1.1 101 UPGRADED", *lines, "Connection: Upgrade", "Upgrade: tcp"]
    else:
        status = 200
        lines = ["HTTP/1.1 200 OK", *lines, "Connection: close"]
    lines += [f"{key}: {value}" for key, value in standing_headers().items() if standing or key == "X-Request-Id"]
    taken = handler.take()
    try:
        await asyncio.get_running_loop().sock_sendall(taken.socket, "\r\n".join([*lines, "", ""]).encode())
    except BaseException:
        taken.socket.close()
        raise
    return taken, Hijacked(status)


async def head_read(client: socket.socket) -> None:
    """Wait until the client has read what it was sent, as far as the kernel tells (unix sockets).

    docker-py reads the head through a buffer and the rest past it: what arrives together with the head is lost to it.
    """
    if client.family != socket.AF_UNIX:
        return
    loop = asyncio.get_running_loop()
    until, (pause, longest) = loop.time() + _HEAD_SECONDS, _HEAD_PAUSES
    while _unread(client) and loop.time() < until:
        await asyncio.sleep(pause)
        pause = min(2 * pause, longest)


def _unread(client: socket.socket) -> int:
    """Bytes of kernel memory that hold what the peer has not read yet."""
    found: tuple[int] = struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, b"\0" * 4))
    return found[0]


async def splice(taken: Taken, shim: socket.socket) -> None:
    """Carry bytes both ways until the shim closes or the client is gone. The client's socket is closed afterwards."""
    loop = asyncio.get_running_loop()
    client, gone = taken.socket, asyncio.Event()
    tasks = [
        asyncio.create_task(_input(loop, taken, shim)),
        output := asyncio.create_task(_output(loop, shim, client)),
        asyncio.create_task(gone.wait()),
    ]
    with client, _hang_up(loop, client, gone):
        try:
            pending = set(tasks)
            while not (output.done() or gone.is_set()):
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not gone.is_set():
            await part(client)


async def part(client: socket.socket) -> None:
    """End the output, and let input that nobody wants run out: closed over it, the connection would be reset, and the
    client takes that for a failure."""
    loop, buffer = asyncio.get_running_loop(), bytearray(_CHUNK)
    with contextlib.suppress(OSError, TimeoutError):
        client.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(_LINGER):
            while await loop.sock_recv_into(client, buffer):
                pass


async def _input(loop: asyncio.AbstractEventLoop, taken: Taken, shim: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the process ended: output's end tells
        if taken.early:
            await loop.sock_sendall(shim, taken.early)
        if not taken.ended:
            await _copy(loop, taken.socket, shim)
        shim.shutdown(socket.SHUT_WR)


async def _output(loop: asyncio.AbstractEventLoop, shim: socket.socket, client: socket.socket) -> None:
    await head_read(client)
    await _copy(loop, shim, client)


async def _copy(loop: asyncio.AbstractEventLoop, source: socket.socket, target: socket.socket) -> None:
    buffer = memoryview(bytearray(_CHUNK))
    moved = 0
    with contextlib.suppress(OSError):
        while count := await loop.sock_recv_into(source, buffer):
            await loop.sock_sendall(target, buffer[:count])
            moved += count
            if moved >= _FAIR:
                moved = 0
                await asyncio.sleep(0)


@contextlib.contextmanager
def _hang_up(loop: asyncio.AbstractEventLoop, client: socket.socket, gone: asyncio.Event) -> Any:
    """Set ``gone`` when the client has closed both ways, also while nobody reads or writes."""
    watcher = select.epoll()
    try:
        watcher.register(client.fileno(), select.EPOLLHUP | select.EPOLLERR | select.EPOLLET)
        loop.add_reader(watcher.fileno(), gone.set)
        yield
    finally:
        loop.remove_reader(watcher.fileno())
        watcher.close()
