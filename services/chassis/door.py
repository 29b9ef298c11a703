"""Doors: listening sockets in front of a server that cannot tell by itself who comes, or cannot take TLS.

Each connection is accepted here; TLS is ended (a client without a certificate of the authority's comes no further);
then ``adopt(connection, caller)`` has a plain socket and knows who is behind it. ``Doors`` serves until its block ends.

Example: ``async with Doors(listeners, tls, to_grpc(path, callers)).serving():`` a gRPC server's unix socket ``path`` is
reached over TCP, and its interceptor finds the caller by ``callers.of(context.peer())``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from chassis import listening, tls
from chassis.caller import Caller, Callers, of_certificate, of_process
from chassis.errors import InvalidArgument
from chassis.listening import Listener
from chassis.logs import logger
from chassis.operations import Operations
from chassis.tls_files import TlsFiles

Adopt = Callable[[socket.socket, Caller], Awaitable[None]]
"""Serve the connection, whose socket is the callee's from now on; may return before its end."""

_HANDSHAKE: Final = 10.0
"""Seconds that a client has to show who it is."""
_LINGER: Final = 2.0
"""Seconds in which a client may take the last bytes: closed with input unread, a connection is reset by the kernel."""
_BLOCK: Final = 64 << 10
_PAUSE: Final = 0.2


class Doors:
    """Some listeners of one server. They are closed when ``serving`` ends; passed ones stay with who passed them."""

    def __init__(self, listeners: Sequence[Listener], tls_files: TlsFiles | None, adopt: Adopt) -> None:
        """InvalidArgument where one would let in who shows no certificate, from elsewhere than this machine."""
        if tls_files is None and (wide := [each for each in listeners if not each.address.is_loopback]):
            listening.close(listeners)
            raise InvalidArgument(
                f"listen: {wide[0].address}: without TLS whoever reaches it is root here", reason="BAD_SETTING",
                field="listen", expected="tls_ca, tls_cert and tls_key, or a loopback address",
            )
        self._listeners = listeners
        self._tls = tls_files
        self._adopt = adopt
        self._operations = Operations()
        self._accepting: list[asyncio.Task[object]] = []

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Accept until the block ends."""
        for each in self._listeners:
            task = self._operations.spawn(f"accept:{each.address}", partial(self._accept, each))
            self._accepting.append(task)
        try:
            yield
        finally:
            await self._operations.close()
            listening.close(self._listeners)

    def accept_no_more(self) -> None:
        """Who is in goes on; who comes waits for the next server at a passed socket."""
        for task in self._accepting:
            task.cancel()

    async def _accept(self, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        number = 0
        while True:
            try:
                connection, peer = await loop.sock_accept(listener.socket)
            except ConnectionAbortedError:
                continue  # the client went before it was its turn
            except OSError as error:
                logger().warning("no connection can be taken now", error=error.strerror)
                await asyncio.sleep(_PAUSE)
                continue
            number += 1
            serve = self._serve_unix if listener.address.is_unix else partial(self._serve_tcp, peer=peer)
            self._operations.spawn(f"door:{listener.address}:{number}", partial(serve, connection))

    async def _serve_unix(self, connection: socket.socket) -> None:
        await _adopted(self._adopt, connection, of_process(connection))

    async def _serve_tcp(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        address = f"{peer[0]}:{peer[1]}"
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._tls is None:
                await self._adopt(connection, Caller(address=address))
            else:
                await self._serve_tls(connection, address, self._tls.context())
        except ssl.SSLError as error:
            logger().warning("a TLS client was refused", peer=address, error=error.reason or str(error))
        except (OSError, TimeoutError) as error:
            logger().debug("a connection broke", peer=address, error=str(error))

    async def _serve_tls(self, connection: socket.socket, address: str, context: ssl.SSLContext) -> None:
        ours, theirs = socket.socketpair()
        pump = tls.Pump(connection, ours, context)
        adopted: asyncio.Task[None] | None = None
        try:
            try:
                async with asyncio.timeout(_HANDSHAKE):
                    await tls.opened(pump)
            finally:
                if not pump.is_open:
                    theirs.close()
            theirs.setblocking(False)
            who = Caller(address=address, certificate=of_certificate(pump.certificate))
            adopted = asyncio.create_task(_adopted(self._adopt, theirs, who))
            await tls.serve(pump)
            await _linger(connection)
        finally:
            pump.close()
            if adopted is not None:
                await adopted


async def _adopted(adopt: Adopt, connection: socket.socket, who: Caller) -> None:
    with contextlib.suppress(OSError):  # a peer that is gone
        await adopt(connection, who)


async def _linger(connection: socket.socket) -> None:
    """Nothing more is said; what the client still sends is thrown away until it has seen that."""
    loop = asyncio.get_running_loop()
    connection.shutdown(socket.SHUT_WR)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER):
            while await loop.sock_recv(connection, 1 << 16):
                continue


def to_grpc(path: Path, callers: Callers) -> Adopt:
    """Connections go on to the gRPC server that listens on ``path``, each over one of its own."""

    async def adopt(connection: socket.socket, who: Caller) -> None:
        loop = asyncio.get_running_loop()
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.setblocking(False)
        inner.setblocking(False)
        with connection, inner, callers.serving(inner, who, path):
            await loop.sock_connect(inner, str(path))
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(loop, connection, inner))
                group.create_task(_copy(loop, inner, connection))

    return adopt


async def _copy(loop: asyncio.AbstractEventLoop, source: socket.socket, target: socket.socket) -> None:
    """Bytes until ``source`` ends. What breaks ends both directions."""
    buffer = memoryview(bytearray(_BLOCK))
    try:
        while count := await loop.sock_recv_into(source, buffer):
            await loop.sock_sendall(target, buffer[:count])
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
