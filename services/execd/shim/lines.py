"""A connection that carries one JSON object per line, both ways, without ever blocking the loop."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from typing import Final

from execd.shim.loop import GONE, READ, WRITE, Loop
from execd.shim.protocol import LINE_MAX

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode
_UNSENT_MAX: Final = LINE_MAX * 2
"""A peer that lets more than this many bytes pile up is dropped: it reconnects and asks for the state."""


class LineConnection:
    """``on_line(connection, message)`` gets each object, ``on_close(connection)`` is called once at the end.
    ``socket`` is for a forked child, in which it lives on without this loop."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_line: Callable[[LineConnection, Mapping[str, object]], None],
        on_close: Callable[[LineConnection], None],
    ) -> None:
        self._loop = loop
        self.socket = sock
        self._on_line = on_line
        self._on_close = on_close
        self._received = bytearray()
        self._unsent = bytearray()
        self.watching = False
        self.closed = False
        sock.setblocking(False)
        loop.add(sock.fileno(), READ, self._ready)

    def send(self, message: Mapping[str, object]) -> None:
        """Queue one line; it goes out as the peer takes it."""
        if self.closed:
            return
        self._unsent += _encode(message).encode() + b"\n"
        if len(self._unsent) > _UNSENT_MAX:
            self.close()
        else:
            self._flush()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.remove(self.socket.fileno())
            self.socket.close()
            self._on_close(self)

    def _ready(self, events: int) -> None:
        if events & READ:
            self._receive()
        if not self.closed and events & WRITE:
            self._flush()
        if not self.closed and events & GONE:
            self.close()

    def _receive(self) -> None:
        try:
            data = self.socket.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._received += data
        while not self.closed:
            end = self._received.find(b"\n")
            if end < 0:
                break
            line = bytes(self._received[:end])
            del self._received[: end + 1]
            try:
                message = json.loads(line)
            except ValueError:
                message = None
            if not isinstance(message, dict):
                self.close()
                return
            self._on_line(self, message)
        if len(self._received) > LINE_MAX:
            self.close()

    def _flush(self) -> None:
        try:
            while self._unsent:
                sent = self.socket.send(self._unsent)
                del self._unsent[:sent]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()
            return
        self._loop.modify(self.socket.fileno(), READ | WRITE if self._unsent else READ)
