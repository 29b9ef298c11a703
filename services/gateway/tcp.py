"""The Engine API on TCP: by TLS with client certificates, or plain on loopback where that was asked for.

Each TLS connection has a socket pair in front of the face, so that hijacked streams are spliced as any other
(chassis.tls). Whoever has no certificate of the given authority never comes to the face.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
import ssl
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final

from aiohttp import web

from chassis import tls
from chassis.errors import InvalidArgument
from chassis.logs import logger
from chassis.operations import Operations
from gateway.settings import GatewaySettings

_ADDRESS: Final = re.compile(r"tcp://(\[[0-9a-fA-F:]+\]|[0-9.]+):(\d{1,5})")
_BACKLOG: Final = 256
_HANDSHAKE: Final = 10.0
"""Seconds that a client has to show who it is."""
_LINGER: Final = 2.0
"""Seconds in which a client may take the last bytes: closed with input unread, a connection is reset by the kernel."""
_PORT_MAX: Final = 65535


class Listeners:
    """Further addresses of one face."""

    def __init__(self, settings: GatewaySettings, server: web.Server) -> None:
        """InvalidArgument names a setting that cannot be."""
        self._context = _context(settings)
        self._addresses = [_parse(text, plain=self._context is None) for text in settings.listen]
        self._server = server
        self._operations = Operations()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Accept until the block ends."""
        with contextlib.ExitStack() as held:
            for family, address in self._addresses:
                listener = held.enter_context(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    listener.bind(address)
                except OSError as error:
                    raise InvalidArgument(f"listen: {address[0]}:{address[1]}: {error.strerror}",
                                          reason="CANNOT_LISTEN", field="listen") from error
                listener.listen(_BACKLOG)
                listener.setblocking(False)
                self._operations.spawn(f"accept:{address}", partial(self._accept, listener))
            try:
                yield
            finally:
                await self._operations.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        number = 0
        while True:
            connection, peer = await loop.sock_accept(listener)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            number += 1
            self._operations.spawn(
                f"tcp:{listener.fileno()}:{number}", partial(self._serve, connection, peer[0]))

    async def _serve(self, connection: socket.socket, peer: str) -> None:
        loop = asyncio.get_running_loop()
        if self._context is None:
            await loop.connect_accepted_socket(self._server, connection)
            return
        ours, theirs = socket.socketpair()
        pump = tls.Pump(connection, ours, self._context)
        try:
            try:
                async with asyncio.timeout(_HANDSHAKE):
                    await tls.opened(pump)
            finally:
                if not pump.is_open:
                    theirs.close()
            await loop.connect_accepted_socket(self._server, theirs)
            await tls.serve(pump)
            await _linger(connection)
        except ssl.SSLError as error:
            logger().warning("a TLS client was refused", peer=peer, error=error.reason or str(error))
        except (OSError, TimeoutError) as error:
            logger().debug("a TLS connection broke", peer=peer, error=str(error))
        finally:
            pump.close()


async def _linger(connection: socket.socket) -> None:
    """Nothing more is said; what the client still sends is thrown away until it has seen that."""
    loop = asyncio.get_running_loop()
    connection.shutdown(socket.SHUT_WR)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER):
            while await loop.sock_recv(connection, 1 << 16):
                continue


def _context(settings: GatewaySettings) -> ssl.SSLContext | None:
    """None where no certificate is given. TLS 1.2 at least, and no client without a certificate of the authority's."""
    given = {name: getattr(settings, name) for name in ("tls_ca", "tls_cert", "tls_key")}
    missing = [name for name, value in given.items() if not value]
    if len(missing) == len(given):
        return None
    if missing:
        raise InvalidArgument(f"{missing[0]}: TLS needs an authority, a certificate and a key", reason="BAD_SETTING",
                              field=missing[0], expected="the path of a PEM file")
    for name, value in given.items():
        if not Path(value).is_file():
            raise InvalidArgument(f"{name}: no such file: {value}", reason="BAD_SETTING", field=name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(settings.tls_ca)
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (ssl.SSLError, OSError) as error:
        raise InvalidArgument(f"tls_cert: {error}", reason="BAD_SETTING", field="tls_cert",
                              expected="PEM files that belong together") from error
    return context


def _parse(text: str, *, plain: bool) -> tuple[socket.AddressFamily, tuple[str, int]]:
    match = _ADDRESS.fullmatch(text)
    try:
        address = ipaddress.ip_address(match[1].strip("[]")) if match else None
    except ValueError:
        address = None
    if match is None or address is None or int(match[2]) > _PORT_MAX:
        raise InvalidArgument(f"listen: {text[:80]!a} is no address", reason="BAD_SETTING", field="listen",
                              expected="tcp://ADDRESS:PORT")
    if plain and not address.is_loopback:
        raise InvalidArgument(f"listen: {text}: without TLS whoever reaches it is root here", reason="BAD_SETTING",
                              field="listen", expected="tls_ca, tls_cert and tls_key, or a loopback address")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    return family, (str(address), int(match[2]))
