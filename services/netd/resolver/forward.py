"""Questions handed on to a sandbox's resolvers, from the host's network namespace.

Over UDP the first resolver is asked, and after 1.5 s without an answer the next one too, and so on: the first good
answer wins, and 4.5 s after the question there is none (a client's own patience is 5 s). A resolver that refuses or
fails is passed over for the next one; the last one's refusal is an answer. Each question goes out from a socket of its
own, so from a random port, under a random id: whoever wants to forge an answer must guess both.
"""

from __future__ import annotations

import functools
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from netd.resolver import wire
from netd.resolver.loop import Loop
from netd.resolver.wire import Query

PORT: Final = 53
_NEXT_AFTER: Final = 1.5
_GIVE_UP_AFTER: Final = 4.5
_RESOLVERS_MAX: Final = 3
_PASSED_OVER: Final = (wire.SERVFAIL, wire.NOTIMP, wire.REFUSED)


def _random_id() -> int:
    return int.from_bytes(os.urandom(2), "big")


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Exchange:
    """One question under way over UDP. ``done`` gets the answer as it came, or None; then all sockets are closed."""

    def __init__(
        self, loop: Loop, query: Query, packet: bytes, resolvers: Sequence[str], done: Callable[[bytes | None], None]
    ) -> None:
        self._loop = loop
        self._query = query
        self._packet = packet
        self._waiting = list(resolvers[:_RESOLVERS_MAX])
        self._done = done
        self._open: dict[int, tuple[socket.socket, int]] = {}
        self._refused: bytes | None = None
        self._timers = [loop.later(_GIVE_UP_AFTER, self._give_up)]

    def begin(self) -> None:
        self._next()

    def close(self) -> None:
        """Wait no longer, and tell nobody."""
        for timer in self._timers:
            timer.cancel()
        for fd, (sock, _) in self._open.items():
            self._loop.forget(fd)
            sock.close()
        self._open.clear()

    def _next(self) -> None:
        """Ask the next resolver that can be asked at all; with none left, the answer is what those asked give."""
        while self._waiting:
            address = self._waiting.pop(0)
            identity = _random_id()
            try:
                sock = socket.socket(family_of(address), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            except OSError:
                continue
            try:
                sock.connect((address, PORT))
                sock.send(wire.with_id(self._packet, identity))
            except OSError:
                sock.close()
                continue
            fd = sock.fileno()
            self._open[fd] = (sock, identity)
            self._loop.watch(fd, functools.partial(self._readable, fd))
            if self._waiting:
                self._timers.append(self._loop.later(_NEXT_AFTER, self._next))
            return
        if not self._open:
            self._finish(self._refused)

    def _readable(self, fd: int) -> None:
        sock, identity = self._open[fd]
        try:
            reply = sock.recv(wire.UDP_MAX)
        except BlockingIOError:
            return
        except OSError:  # nobody listens there
            reply = b""
        if reply and not wire.answers(self._query, identity, reply):
            return
        if reply and wire.rcode_of(reply) not in _PASSED_OVER:
            self._finish(reply)
            return
        self._refused = reply or self._refused
        self._loop.forget(fd)
        del self._open[fd]
        sock.close()
        self._next()

    def _give_up(self) -> None:
        self._finish(self._refused)

    def _finish(self, reply: bytes | None) -> None:
        self.close()
        self._done(None if reply is None else wire.with_id(reply, self._query.id))


def over_tcp(query: Query, packet: bytes, resolvers: Sequence[str]) -> bytes | None:
    """The answer over TCP, None where no resolver gives one within 4.5 s. Blocks: the caller is a thread of its own."""
    until = time.monotonic() + _GIVE_UP_AFTER
    refused = None
    asked = resolvers[:_RESOLVERS_MAX]
    for address in asked:
        now = time.monotonic()
        its_end = until if address is asked[-1] else min(until, now + _NEXT_AFTER)
        if its_end <= now:
            break
        identity = _random_id()
        try:
            with socket.socket(family_of(address), socket.SOCK_STREAM) as sock:
                sock.settimeout(its_end - now)
                sock.connect((address, PORT))
                send_framed(sock, wire.with_id(packet, identity))
                reply = receive_framed(sock, its_end)
        except OSError:
            continue
        if reply is None or not wire.answers(query, identity, reply):
            continue
        if wire.rcode_of(reply) not in _PASSED_OVER:
            return wire.with_id(reply, query.id)
        refused = wire.with_id(reply, query.id)
    return refused


def send_framed(sock: socket.socket, packet: bytes) -> None:
    """A message on a stream: its length in two bytes before it (RFC 1035 section 4.2.2)."""
    sock.sendall(len(packet).to_bytes(2, "big") + packet)


def receive_framed(sock: socket.socket, until: float) -> bytes | None:
    """The next message of a stream, None at its end. TimeoutError at monotonic time ``until``."""
    head = _receive(sock, 2, until)
    return head and _receive(sock, int.from_bytes(head, "big"), until)


def _receive(sock: socket.socket, length: int, until: float) -> bytes | None:
    data = b""
    while len(data) < length:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        piece = sock.recv(length - len(data))
        if not piece:
            return None
        data += piece
    return data
