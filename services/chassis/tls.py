"""TLS in front of a plain socket: an encrypted connection on one side, its bytes on the other.

What is behind it sees a socket like any other, half-close included: a peer's close_notify ends the plain side's input,
the plain side's shutdown becomes a close_notify, and the other direction goes on. ``ssl.SSLSocket`` and asyncio know no
half-close, and whoever splices descriptors cannot splice what is encrypted.

Lifecycle: ``Pump(encrypted, plain, context)`` owns both sockets → ``advance()`` does all that can be done now and tells
what to wait for, until ``done`` → ``close()``. ``run`` does that in a thread, ``serve`` on an event loop.

Example: ``ours, theirs = socket.socketpair()``; ``Pump(connection, ours, context, hostname="node")`` in a thread;
whoever has ``theirs`` speaks to the peer. Source: RFC 8446, section 6.1 (close_notify).
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, NamedTuple

_BLOCK: Final = 64 << 10
_HELD: Final = 256 << 10
"""Bytes that wait for a slow side before the other side is read no more."""


class Wait(NamedTuple):
    """Which of the two sockets is to become readable or writable before anything more can be done."""

    encrypted_read: bool
    encrypted_write: bool
    plain_read: bool
    plain_write: bool


class Pump:
    """One connection. ``advance`` raises ssl.SSLError for a handshake that fails, OSError where a socket breaks."""

    def __init__(
        self, encrypted: socket.socket, plain: socket.socket, context: ssl.SSLContext, *, hostname: str | None = None
    ) -> None:
        """``hostname`` is the server's, for a client; None makes this the server's side, which is done as soon as the
        plain side has said all: no protocol here goes on listening behind its last word."""
        self._is_server = hostname is None
        self.encrypted, self.plain = encrypted, plain
        for each in (encrypted, plain):
            each.setblocking(False)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=hostname is None, server_hostname=hostname)
        self.is_open = False
        """The handshake is done."""
        self._to_plain = bytearray()
        self._to_encrypted = bytearray()
        self._peer_gone = False
        self._peer_ended = False
        self._plain_silent = False
        self._plain_ended = False
        self._told_plain = False

    @property
    def certificate(self) -> dict[str, Any]:
        """The peer's, as ``ssl.SSLObject.getpeercert`` gives it; empty where it showed none. After the handshake."""
        return self._tls.getpeercert() or {}

    @property
    def done(self) -> bool:
        """All is delivered, and nothing more can come."""
        said_all = self._peer_gone or (self._plain_ended and not self._to_encrypted)
        heard_all = self._peer_ended and self._told_plain
        return said_all and (heard_all or (self._is_server and not self._peer_gone))

    def advance(self) -> Wait:
        """All that can be done without waiting."""
        while self._flush() | self._take() | self._decrypt() | self._encrypt() or self._outgoing.pending:
            continue
        return Wait(
            encrypted_read=not self._peer_ended and len(self._to_plain) < _HELD,
            encrypted_write=bool(self._to_encrypted),
            plain_read=self.is_open and not self._plain_silent and len(self._to_encrypted) < _HELD,
            plain_write=bool(self._to_plain),
        )

    def close(self) -> None:
        self.encrypted.close()
        self.plain.close()

    def _flush(self) -> bool:
        self._to_encrypted += self._outgoing.read()
        moved = False
        try:
            moved = _send(self.encrypted, self._to_encrypted)
        except (BrokenPipeError, ConnectionResetError):  # what it said before it went counts
            self._peer_gone = True
        if self._peer_gone:
            self._to_encrypted.clear()
        try:
            moved |= _send(self.plain, self._to_plain)
        except BrokenPipeError:  # whoever is behind it reads no more: what comes is thrown away
            self._to_plain.clear()
        if self._peer_ended and not self._to_plain and not self._told_plain:
            self._told_plain = True
            try:
                self.plain.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        return moved

    def _take(self) -> bool:
        if self._peer_ended or len(self._to_plain) >= _HELD:
            return False
        try:
            data = self.encrypted.recv(_BLOCK)
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionResetError:
            data, self._peer_gone = b"", True
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
            self._peer_ended = not self.is_open or self._incoming.pending == 0
        return True

    def _decrypt(self) -> bool:
        if not self.is_open:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                if self._peer_ended:
                    raise
                return False
            except ssl.SSLError:
                self._flush()  # the alert that says why
                raise
            self.is_open = True
            return True
        moved = False
        while len(self._to_plain) < _HELD:
            try:
                data = self._tls.read(_BLOCK)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                data = b""
            if not data:
                moved |= not self._peer_ended
                self._peer_ended = True
                break
            self._to_plain += data
            moved = True
        return moved

    def _encrypt(self) -> bool:
        if not self.is_open or self._plain_ended:
            return False
        if self._plain_silent:
            return self._say_end()
        if len(self._to_encrypted) >= _HELD:
            return False
        try:
            data = self.plain.recv(_BLOCK)
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionResetError:
            data = b""
        if data:
            self._tls.write(data)
        else:
            self._plain_silent = True
        return True

    def _say_end(self) -> bool:
        """A close_notify, once all that has come is read: OpenSSL takes what comes after it, not what was there."""
        if self._incoming.pending:
            return False
        self._plain_ended = True
        try:
            self._tls.unwrap()
        except (ssl.SSLWantReadError, ssl.SSLSyscallError, ssl.SSLZeroReturnError):
            pass  # the peer's comes when it has said all
        return True


def _send(sock: socket.socket, data: bytearray) -> bool:
    if not data:
        return False
    try:
        sent = sock.send(data)
    except (BlockingIOError, InterruptedError):
        return False
    del data[:sent]
    return sent > 0


def run(pump: Pump, *, until_open: bool = False) -> None:
    """Until it is done, or as far as the handshake; blocks. ssl.SSLError and OSError as ``Pump.advance``."""
    while True:
        wait = pump.advance()
        if pump.done or (until_open and pump.is_open):
            return
        poll = select.poll()
        for sock, read, write in ((pump.encrypted, wait.encrypted_read, wait.encrypted_write),
                                  (pump.plain, wait.plain_read, wait.plain_write)):
            if events := (select.POLLIN if read else 0) | (select.POLLOUT if write else 0):
                poll.register(sock.fileno(), events)
        poll.poll()


async def opened(pump: Pump) -> None:
    """Until the peer is known, on the running event loop. ssl.SSLError where it is not who it has to be."""
    await _drive(pump, lambda: pump.is_open)


async def serve(pump: Pump) -> None:
    """``run`` on the running event loop."""
    await _drive(pump, lambda: pump.done)


async def _drive(pump: Pump, is_over: Callable[[], bool]) -> None:
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    watched: dict[tuple[int, bool], None] = {}

    def watch(sock: socket.socket, write: bool, wanted: bool) -> None:
        key = (sock.fileno(), write)
        if wanted and key not in watched:
            (loop.add_writer if write else loop.add_reader)(sock.fileno(), news.set)
            watched[key] = None
        elif not wanted and key in watched:
            (loop.remove_writer if write else loop.remove_reader)(sock.fileno())
            del watched[key]

    try:
        while True:
            news.clear()
            wait = pump.advance()
            if is_over():
                return
            watch(pump.encrypted, False, wait.encrypted_read)
            watch(pump.encrypted, True, wait.encrypted_write)
            watch(pump.plain, False, wait.plain_read)
            watch(pump.plain, True, wait.plain_write)
            await news.wait()
    finally:
        for number, write in watched:
            (loop.remove_writer if write else loop.remove_reader)(number)
