"""The sockets of the served sandboxes: questions in, answers out."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Final

from netd.resolver import forward, wire
from netd.resolver.counters import Counters
from netd.resolver.forward import Exchange
from netd.resolver.hosts import HostResolvers
from netd.resolver.loop import Loop
from netd.resolver.names import Names
from netd.resolver.protocol import Served
from netd.resolver.wire import Malformed, Query

_DRAIN: Final = 64
"""Questions of one sandbox that are answered before the others have their turn."""
_EXCHANGES: Final = 64
_EXCHANGES_OF_ALL: Final = 2048
"""Questions under way at once, of a sandbox and of all: each holds a descriptor."""
_STREAMS: Final = 8
_STREAMS_OF_ALL: Final = 128
"""TCP connections at once, of a sandbox and of all: each holds a thread."""
_IDLE: Final = 5.0
Address = tuple[str, int]
_ADDRESSES: Final = {wire.A: 4, wire.AAAA: 6}


class Sandbox:
    """The two sockets of one sandbox, until ``close``."""

    def __init__(self, id_: str, udp: socket.socket, tcp: socket.socket, owner: Sandboxes) -> None:
        self.id = id_
        self._udp = udp
        self._tcp = tcp
        self._owner = owner
        self._exchanges: set[Exchange] = set()
        self._streams: set[socket.socket] = set()
        udp.setblocking(False)
        tcp.setblocking(False)
        owner.loop.watch(udp.fileno(), self._questions)
        owner.loop.watch(tcp.fileno(), self._accept)

    @property
    def sockets(self) -> tuple[socket.socket, socket.socket]:
        return self._udp, self._tcp

    def close(self) -> None:
        for exchange in self._exchanges:
            exchange.close()
        self._owner.exchanges -= len(self._exchanges)
        self._exchanges.clear()
        for stream in list(self._streams):
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)  # its thread ends, and lets go of the sandbox's namespace
        for sock in (self._udp, self._tcp):
            self._owner.loop.forget(sock.fileno())
            sock.close()

    def _questions(self) -> None:
        for _ in range(_DRAIN):
            try:
                packet, client = self._udp.recvfrom(wire.UDP_MAX)
            except OSError:
                return
            if wire.is_response(packet):
                continue
            try:
                query = wire.parse(packet)
            except Malformed as error:
                self._owner.counters.count("malformed")
                self._reply(wire.refusal(packet, error.rcode), client)
                continue
            reply = self._owner.answer(self.id, query, query.size)
            if reply is None:
                self._forward(query, packet, client)
            else:
                self._reply(reply, client)

    def _reply(self, packet: bytes, client: Address) -> None:
        try:
            self._udp.sendto(packet, client)
        except OSError:
            return  # the client does not read, or is gone: it asks again if it must

    def _forward(self, query: Query, packet: bytes, client: Address) -> None:
        resolvers = self._owner.resolvers(self.id)
        full = len(self._exchanges) >= _EXCHANGES or self._owner.exchanges >= _EXCHANGES_OF_ALL
        if full or not resolvers:
            self._owner.counters.count("refused")
            self._reply(wire.answer(query, (), wire.SERVFAIL), client)
            return

        def done(reply: bytes | None) -> None:
            self._exchanges.discard(exchange)
            self._owner.exchanges -= 1
            self._owner.counters.count("failed" if reply is None else "forwarded")
            if reply is None:
                reply = wire.answer(query, (), wire.SERVFAIL)
            elif len(reply) > query.size:
                reply = wire.truncated(query)
            self._reply(reply, client)

        exchange = Exchange(self._owner.loop, query, packet, resolvers, done)
        self._exchanges.add(exchange)
        self._owner.exchanges += 1
        exchange.begin()

    def _accept(self) -> None:
        try:
            stream, _ = self._tcp.accept()
        except OSError:
            return
        if len(self._streams) >= _STREAMS or threading.active_count() > _STREAMS_OF_ALL:
            stream.close()
            return
        self._streams.add(stream)
        try:
            threading.Thread(target=self._serve, args=(stream,), daemon=True).start()
        except RuntimeError:  # no thread is to be had: nobody's processes, also those in containers, share one limit
            self._streams.discard(stream)
            stream.close()

    def _serve(self, stream: socket.socket) -> None:
        """One client's connection, on a thread of its own: one question after the other."""
        try:
            with stream:
                while True:
                    packet = forward.receive_framed(stream, time.monotonic() + _IDLE)
                    if not packet or wire.is_response(packet):
                        return
                    forward.send_framed(stream, self._answer_over_tcp(packet))
        except OSError:
            return
        finally:
            self._streams.discard(stream)

    def _answer_over_tcp(self, packet: bytes) -> bytes:
        counters = self._owner.counters
        try:
            query = wire.parse(packet)
        except Malformed as error:
            counters.count("malformed")
            return wire.refusal(packet, error.rcode)
        reply = self._owner.answer(self.id, query, wire.UDP_MAX)
        if reply is not None:
            return reply
        resolvers = self._owner.resolvers(self.id)
        reply = forward.over_tcp(query, packet, resolvers) if resolvers else None
        counters.count("forwarded" if reply else "failed" if resolvers else "refused")
        return reply or wire.answer(query, (), wire.SERVFAIL)


class Sandboxes:
    """All of them, and what they share."""

    def __init__(self, loop: Loop, counters: Counters, host_resolvers: HostResolvers) -> None:
        self.loop = loop
        self.counters = counters
        self.exchanges = 0
        self._host_resolvers = host_resolvers
        self._names = Names()
        self._open: dict[str, Sandbox] = {}

    def __len__(self) -> int:
        return len(self._open)

    @property
    def ids(self) -> list[str]:
        return sorted(self._open)

    def served(self) -> Iterator[tuple[Served, tuple[socket.socket, socket.socket]]]:
        """Everything, with its sockets."""
        for id_, sandbox in self._open.items():
            served = self._names.get(id_)
            if served is not None:
                yield served, sandbox.sockets

    def put(self, served: Served, sockets: tuple[socket.socket, socket.socket] | None) -> None:
        """Serve the sandbox so from now on; with new sockets the old ones are closed. One without sockets is found by
        the others, and asks nothing."""
        self._names.put(served)
        if sockets is not None:
            self._close(served.id)
            self._open[served.id] = Sandbox(served.id, *sockets, self)

    def drop(self, id_: str) -> None:
        self._names.drop(id_)
        self._close(id_)

    def _close(self, id_: str) -> None:
        sandbox = self._open.pop(id_, None)
        if sandbox is not None:
            sandbox.close()

    def resolvers(self, id_: str) -> tuple[str, ...]:
        """Where the sandbox's questions go on to; () for nowhere."""
        served = self._names.get(id_)
        if served is None or not served.forward:
            return ()
        return served.resolvers or self._host_resolvers()

    def answer(self, id_: str, query: Query, size: int) -> bytes | None:
        """The answer to a question about a name of ours, None for any other."""
        served = self._names.get(id_)
        if query.klass != wire.IN:
            self.counters.count("refused")
            return wire.answer(query, (), wire.REFUSED)
        if served is None:
            return None
        if query.kind == wire.PTR and (pointer := self._names.pointer(served, query.name)) is not None:
            self.counters.count("own")
            return wire.answer(query, (pointer,), size=size)
        found = self._names.addresses(served, query.name, _ADDRESSES.get(query.kind, 0))
        if found is None:
            return None
        self.counters.count("own")
        if len(found) > 1:
            turn = os.urandom(1)[0] % len(found)  # that each has its share of clients, which take the first
            found = found[turn:] + found[:turn]
        return wire.answer(query, found, size=size)
