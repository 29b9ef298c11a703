"""Sockets anywhere, and what came of sending a few bytes from one to another: the tests' packets."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from netd import netns

SocketMaker = Callable[[int], socket.socket]
_TRIES = 3
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
        sock.settimeout(5)
        yield sock


def reach(make: SocketMaker, address: str, port: int, server: socket.socket, source: str = "") -> str | None:
    """Send bytes to ``address``:``port``, expect them at ``server`` and an answer back.

    Returns the sender's address as the server saw it, None where nothing arrived. It is tried some times: TCP would
    send a first packet that was lost again after a second only.
    """
    return next(filter(None, (_once(make, address, port, server, source) for _ in range(_TRIES))), None)


def _once(make: SocketMaker, address: str, port: int, server: socket.socket, source: str) -> str | None:
    with make(server.type) as client:
        client.settimeout(REFUSED_SECONDS)
        if source:
            client.bind((source, 0))
        if server.type == socket.SOCK_DGRAM:
            return _datagram(client, (address, port), server)
        ping = os.urandom(8)
        try:
            client.connect((address, port))
            client.sendall(ping)
            while (peer := _served(server, ping)) is None:
                pass  # an earlier try's, which gave up before it was accepted
            assert client.recv(4) == b"pong"
        except OSError:
            return None
        return peer


def _served(server: socket.socket, ping: bytes) -> str | None:
    """Answer the next connection where it is the one that said ``ping``; its address."""
    server.settimeout(REFUSED_SECONDS)
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


def _datagram(client: socket.socket, target: tuple[str, int], server: socket.socket) -> str | None:
    server.settimeout(REFUSED_SECONDS)
    try:
        client.sendto(b"ping", target)
        data, peer = server.recvfrom(16)
        assert data == b"ping"
        server.sendto(b"pong", peer)
        # The answer has to come from where the question went.
        answer, origin = client.recvfrom(16)
        assert answer == b"pong"
        assert origin[:2] == target
    except OSError:
        return None
    return str(peer[0])
