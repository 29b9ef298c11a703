"""aiohttp's connection, extended by what a raw upgrade needs.

aiohttp knows no other upgrade than a websocket's: it drops what follows the head of one, and answers a client's
half-close by closing. So each head is looked at here first. One that asks for a hijacked stream is handed on as an
ordinary request; what follows its body is raw input, kept until ``take`` (or parsed as the next request where the
handler declined), and the end of input is remembered instead of acted on.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from aiohttp.streams import StreamReader

from chassis.caller import Caller, of_process

_HEAD_MAX: Final = 64 << 10
_EARLY_MAX: Final = 256 << 10
_END: Final = b"\r\n\r\n"
_HIJACK: Final = re.compile(rb"POST (?:/v[0-9.]+)?/(?:containers/[^/ ?]+/attach|exec/[^/ ?]+/start)[? ]")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*(?=\r\n|$)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_UPGRADE: Final = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
_CONNECTION: Final = re.compile(rb"\r\nconnection:[ \t]*upgrade[ \t]*(?=\r\n|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Taken:
    """A connection that is raw from now on. ``early`` came before anybody read; ``ended``: so did the end of input."""

    socket: socket.socket
    early: bytes
    ended: bool


class Handler(web.RequestHandler):
    """One client's connection. ``upgrade``: the request being served asks for 101. ``caller`` is told by the door that
    the client came through; who comes by a unix socket is asked of the kernel."""

    def __init__(self, manager: Any, who: Caller | None = None, **options: Any) -> None:
        super().__init__(manager, **options)
        self.caller = who or Caller()
        self._knows_caller = who is not None
        self.upgrade = False
        self._head = b""
        self._busy = False
        self._payload: StreamReader | None = None
        self._raw: bytearray | None = None
        self._body_left = 0
        self._ended = False
        self._taken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        own = transport.get_extra_info("socket")
        if not self._knows_caller and own is not None and own.family == socket.AF_UNIX:
            self.caller = of_process(own)

    def data_received(self, data: bytes) -> None:
        if self._upgraded:  # a websocket's own
            super().data_received(data)
        elif self._raw is not None:
            if self._body_left:
                body, data = data[: self._body_left], data[self._body_left :]
                self._body_left -= len(body)
                super().data_received(body)
            self._raw += data
            self._pause_at(len(self._raw))
        elif self._payload is not None and not self._payload.is_eof():  # also of a request that is answered already
            super().data_received(data)
        elif not (self._busy or self._messages):
            self._head += data
            self._read_head()
        else:  # the next request, sent early: its head is looked at when its turn comes
            self._head += data
            self._pause_at(len(self._head))

    def eof_received(self) -> Any:
        if self._raw is None:
            return super().eof_received()
        self._ended = True
        return True

    async def finish_response(self, request: Any, resp: Any, start_time: Any) -> tuple[web.StreamResponse, bool]:
        result = await super().finish_response(request, resp, start_time)
        self._busy = False
        if self._taken:
            return result
        if self._raw is not None:
            self._head += bytes(self._raw)
            self._raw, self.upgrade = None, False
        transport = self.transport
        if isinstance(transport, asyncio.Transport) and not transport.is_closing():
            if self._head:
                self._read_head()
            if self._ended:
                self.close()
            elif not transport.is_reading() and not self._buffer_paused:
                transport.resume_reading()
        return result

    def take(self) -> Taken:
        """The client's socket, for the caller to read, write and close; aiohttp touches it no more."""
        assert isinstance(self.transport, asyncio.Transport)
        assert self._raw is not None
        if self.transport.is_reading():
            self.transport.pause_reading()
        self._taken = True
        own = socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno()))
        own.setblocking(False)
        return Taken(own, bytes(self._raw), self._ended)

    @property
    def can_hijack(self) -> bool:
        return self._raw is not None

    def _read_head(self) -> None:
        end = self._head.find(_END)
        if end < 0 and len(self._head) <= _HEAD_MAX:
            return
        data, self._head = self._head, b""
        self._busy = True
        head = data[:end]
        # Where a chunked body ends only its parser knows: such a request stays an ordinary one.
        if end < 0 or not _HIJACK.match(head) or _CHUNKED.search(head):
            super().data_received(data)
            self._note_payload()
            return
        length = _LENGTH.search(head)
        self._raw, self._body_left = bytearray(), int(length[1]) if length else 0
        self.upgrade = _UPGRADE.search(head) is not None
        super().data_received(_UPGRADE.sub(b"", _CONNECTION.sub(b"", head)) + _END)
        self._note_payload()
        if rest := data[end + len(_END) :]:
            self.data_received(rest)

    def _note_payload(self) -> None:
        if self._messages:
            payload = self._messages[-1][1]
            self._payload = payload if isinstance(payload, StreamReader) else None

    def _pause_at(self, size: int) -> None:
        if size >= _EARLY_MAX and isinstance(self.transport, asyncio.Transport) and self.transport.is_reading():
            self.transport.pause_reading()
