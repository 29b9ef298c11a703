"""Where records of a log are sent to. ``forward`` opens one for each container, and another after each failure.

``open``, then any number of ``send``, then ``close``. ``send`` returns when the records are out of this host's hands as
far as that can be told: the other side's kernel has taken them, or it said so itself. An OSError says that they may not
be: the same records are then sent again by a new one, so a destination may see a record twice, and misses none.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from execd.logs.record import Record

TIMEOUT: Final = 10.0
"""Seconds within which the other side must take what it is sent."""
_SIOCOUTQ: Final = 0x5411
_PAUSE: Final = 0.002
_PAUSE_MAX: Final = 0.1


class Destination(Protocol):
    """See the module."""

    async def open(self) -> None: ...
    async def send(self, records: Sequence[Record]) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Address:
    """``scheme`` udp, tcp, tcp+tls, tls, unix or unixgram; ``path`` for the last two."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""


def parse_address(text: str, schemes: Sequence[str], port: int) -> Address:
    """ValueError says what is wrong. ``port`` is the one that is meant where none is given."""
    parts = urlsplit(text)
    if parts.scheme not in schemes:
        raise ValueError(f"{text[:200]!a} has none of the schemes {', '.join(schemes)}")
    if parts.scheme in ("unix", "unixgram"):
        if not parts.path.startswith("/") or len(parts.path.encode()) > 107:
            raise ValueError(f"{text[:200]!a} has no absolute path of at most 107 bytes")
        return Address(parts.scheme, path=parts.path)
    if not parts.hostname or parts.path or parts.query or parts.username is not None:
        raise ValueError(f"{text[:200]!a} is not SCHEME://HOST[:PORT]")
    return Address(parts.scheme, parts.hostname, parts.port or port)


class Stream:
    """A connection whose ``write`` returns when the other side's kernel has everything."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None = None) -> None:
        self._address = address
        self._tls = tls
        self.reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def open(self) -> None:
        address = self._address
        async with asyncio.timeout(TIMEOUT):
            if address.path:
                self.reader, self._writer = await asyncio.open_unix_connection(address.path)
            else:
                self.reader, self._writer = await asyncio.open_connection(address.host, address.port, ssl=self._tls)
        self._writer.transport.set_write_buffer_limits(0)

    async def write(self, data: bytes) -> None:
        """OSError where the other side has gone, or takes nothing for TIMEOUT seconds."""
        writer = self._writer
        assert writer is not None
        if self.reader.at_eof():
            raise ConnectionResetError("the other side has closed the connection")
        writer.write(data)
        async with asyncio.timeout(TIMEOUT):
            await writer.drain()
            await self._taken(writer)
        if writer.is_closing():
            raise ConnectionResetError("the connection was lost")

    async def _taken(self, writer: asyncio.StreamWriter) -> None:
        """The kernel tells what it still holds, and no event comes when that is nothing."""
        connection = writer.get_extra_info("socket")
        left, pause = array.array("i", [0]), _PAUSE
        while not writer.is_closing():
            fcntl.ioctl(connection.fileno(), _SIOCOUTQ, left)
            if not left[0]:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _PAUSE_MAX)

    def close(self) -> None:
        if self._writer is not None:
            with suppress(OSError, RuntimeError):
                self._writer.close()


class Datagrams:
    """A connected datagram socket."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    async def open(self) -> None:
        address, loop = self._address, asyncio.get_running_loop()
        if address.path:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.connect(address.path)
            return
        async with asyncio.timeout(TIMEOUT):
            found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, target = found[0]
        self._socket = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        self._socket.connect(target)

    async def write(self, data: bytes) -> None:
        """One datagram. OSError where it is known that nobody gets it."""
        assert self._socket is not None
        async with asyncio.timeout(TIMEOUT):
            await asyncio.get_running_loop().sock_sendall(self._socket, data)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
