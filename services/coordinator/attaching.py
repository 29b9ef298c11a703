"""A client of a container's shim: the attach protocol (services/chassis/attach.py) over its socket on this node."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from chassis import attach
from chassis.errors import Conflict, InvalidArgument, Unavailable


@asynccontextmanager
async def dial(path: bytes, request: attach.AttachRequest) -> AsyncIterator[socket.socket]:
    """A socket attached to what ``request`` names. Conflict, InvalidArgument as the shim refuses, Unavailable."""
    loop = asyncio.get_running_loop()
    shim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    shim.setblocking(False)
    try:
        with _short(path) as name:
            try:
                await loop.sock_connect(shim, name)
                await loop.sock_sendall(shim, attach.encode_request(request))
                line = await _line(loop, shim)
            except OSError as error:
                raise Unavailable(f"attach: {error.strerror}", reason="SHIM_GONE") from error
        text, reason = attach.decode_answer(line)
        if text:
            raise (InvalidArgument if reason.startswith("BAD") else Conflict)(text, reason=reason)
        yield shim
    finally:
        shim.close()


@contextlib.contextmanager
def _short(path: bytes) -> Any:
    """A name of at most 108 bytes for the socket at ``path`` (unix(7)): through its directory's descriptor."""
    if len(path) < 108:
        yield path
        return
    directory, name = os.path.split(path)
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield b"/proc/self/fd/%d/%s" % (fd, name)
    finally:
        os.close(fd)


async def _line(loop: asyncio.AbstractEventLoop, shim: socket.socket) -> bytes:
    """The shim's answer, byte by byte: what follows it is output."""
    line = b""
    while not line.endswith(b"\n") and len(line) < attach.HANDSHAKE_MAX:
        byte = await loop.sock_recv(shim, 1)
        if not byte:
            break
        line += byte
    return line
