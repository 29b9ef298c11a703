"""Sockets anywhere, and what came of sending a few bytes from one to another: the tests' packets."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from netd import netns

SocketMaker = Callable[[int], socket.socket]
PATIENCE_SECONDS = 30
"""How long what must arrive is tried: a first packet may wait a second for its neighbour's address, or two."""
_LONGEST_TRY_SECONDS = 4
REFUSED_SECONDS = 0.4
"""How long a packet that must not arrive is waited for; one that arrives takes less than a millisecond."""


def on_host(kind: int = socket.SOCK_STREAM) -> socket.socket:
    return socket.socket(socket.AF_INET, kind)


def on_host6(kind: int = socket.SOCK_STREAM) -> socket.socket:
    return socket.socket(socket.AF_INET6, kind)


def in_namespace(path: Path, family: int = socket.AF_INET) -> SocketMaker:
    """Sockets of the namespace pinned at ``path``."""
    return lambda kind: netns.inside(path, lambda: socket.socket(family, kind))


def in_namespace6(path: Path) -> SocketMaker:
    return in_namespace(path, socket.AF_INET6)


@contextlib.contextmanager
def listener(make: SocketMaker, address: str, port: int, kind: int = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    with make(kind) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        sock.settimeout(PATIENCE_SECONDS)
        yield sock


def reach(make: SocketMaker, address: str, port: int, server: socket.socket, source: str = "") -> str | None:
    """Send bytes to ``address``:``port``, expect them at ``server`` and an answer back.

    Returns the sender's address as the server saw it, None where nothing arrived in all the time that is given to what
    must arrive. It is sent again and again: TCP would send a first packet that was lost again after a second only.
    """
    end, patience = time.monotonic() + PATIENCE_SECONDS, REFUSED_SECONDS
    while (peer := attempt(make, address, port, server, source, patience)) is None and time.monotonic() < end:
        patience = min(2 * patience, _LONGEST_TRY_SECONDS)  # a machine that has much else to do answers later
    return peer


def attempt(
    make: SocketMaker, address: str, port: int, server: socket.socket, source: str = "",
    patience: float = REFUSED_SECONDS,
) -> str | None:
    """As ``reach``, once: for what must not arrive."""
    ping = os.urandom(8)
    with make(server.type) as client:
        client.settimeout(patience)
        server.settimeout(patience)
        try:
            if source:
                client.bind((source, 0))
            client.connect((address, port))  # an answer counts from where the question went only
            client.sendall(ping)
            serve = _datagram if server.type == socket.SOCK_DGRAM else _connection
            while (peer := serve(server, ping)) is None:
                pass  # an earlier try's, which gave up before it was served
            assert client.recv(4) == b"pong"
        except OSError:
            return None
        return peer


def exchange(client: socket.socket, target: tuple[str, int], server: socket.socket, ping: bytes) -> None:
    """Send the datagram ``ping`` to ``target`` until ``server`` has it and ``client`` has its answer. TimeoutError.

    A datagram may be lost, so it is sent again; answers to earlier ones are passed over.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    for sock in (client, server):
        sock.settimeout(REFUSED_SECONDS)
    while time.monotonic() < end:
        with contextlib.suppress(TimeoutError):
            client.sendto(ping, target)
            while (heard := server.recvfrom(64))[0] != ping:
                pass
            server.sendto(b"pong " + ping, heard[1])
            while (answer := client.recvfrom(64))[0] != b"pong " + ping:
                pass
            assert answer[1][:2] == target
            return
    raise TimeoutError(f"no answer to {ping!r}")


def _connection(server: socket.socket, ping: bytes) -> str | None:
    """Answer the next connection where it is the one that said ``ping``; its address."""
    served, peer = server.accept()
    with served:
        served.settimeout(REFUSED_SECONDS)
        try:
            if served.recv(len(ping)) != ping:
                return None
        except OSError:
            return None
        served.sendall(b"pong")
        return str(peer[0])


def _datagram(server: socket.socket, ping: bytes) -> str | None:
    """Answer the next datagram where it is ``ping``; its sender's address."""
    data, peer = server.recvfrom(16)
    if data != ping:
        return None
    server.sendto(b"pong", peer)
    return str(peer[0])
