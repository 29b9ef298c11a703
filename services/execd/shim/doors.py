"""The shim's two sockets and who stands at them: control connections, and attach clients before their handshake."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Final

from chassis.attach import AttachRequest
from execd.shim import protocol
from execd.shim.clients import Handshake
from execd.shim.lines import LineConnection
from execd.shim.loop import READ, Loop

_HANDSHAKES_MAX: Final = 256
_BACKLOG: Final = 64
OnRequest = Callable[[LineConnection, Mapping[str, object]], None]
OnAttach = Callable[[Handshake, AttachRequest, bytes], None]


class Doors:
    """Listens in ``run_dir`` (both sockets of mode 0600, never abstract)."""

    def __init__(self, loop: Loop, run_dir: str, on_request: OnRequest, on_attach: OnAttach) -> None:
        self._loop = loop
        self._on_request = on_request
        self._on_attach = on_attach
        self._connections: list[LineConnection] = []
        self._handshakes: list[Handshake] = []
        self._listeners = [
            self._listen(os.path.join(run_dir, protocol.CONTROL_SOCKET), self._accept_control),
            self._listen(os.path.join(run_dir, protocol.ATTACH_SOCKET), self._accept_attach),
        ]

    def connect(self, sock: socket.socket) -> LineConnection:
        """Take a control connection in."""
        connection = LineConnection(self._loop, sock, self._on_request, self._connections.remove)
        self._connections.append(connection)
        return connection

    def tell(self, event: str, **facts: object) -> None:
        """An event to every connection that watches."""
        for connection in list(self._connections):
            if connection.watching:
                connection.send({"event": event, **facts})

    def _listen(self, path: str, handler: Callable[[socket.socket], None]) -> socket.socket:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(_BACKLOG)
        listener.setblocking(False)

        def accept(_events: int) -> None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            handler(connection)

        self._loop.add(listener.fileno(), READ, accept)
        return listener

    def _accept_control(self, sock: socket.socket) -> None:
        self.connect(sock)

    def _accept_attach(self, sock: socket.socket) -> None:
        handshake = Handshake(self._loop, sock, self._on_attach, self._handshakes.remove)
        self._handshakes.append(handshake)
        if len(self._handshakes) > _HANDSHAKES_MAX:
            self._handshakes[0].refuse("attach: too many connections without a handshake", "TOO_MANY")
