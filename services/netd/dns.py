"""netd's side of the resolver: what each sandbox is answered, and the sockets inside it.

A sandbox on a network that a client made has two sockets at 127.0.0.11, on ports of the kernel's choice, and a nat
table of its own that leads port 53 there: binding port 53 itself would take it from the sandbox's programs. The sockets
are opened here, inside the namespace, and handed over; the resolver needs no privilege. When it is lost, all of it is
done anew for its successor; when netd is lost, it goes on as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

from chassis.blocking import Pool as Threads
from chassis.errors import Internal, Unavailable
from chassis.logs import logger
from chassis.operations import Operations
from chassis.stages import stage, trace
from netd import netns
from netd.nft import Nft, NftError
from netd.records import View
from netd.resolver import protocol
from netd.resolver.protocol import Join, Served

_ANSWER_SECONDS: Final = 2.0
_AWAY_SECONDS: Final = 5.0
"""How long a verb waits for a resolver that is being started again."""
_START_SECONDS: Final = 1.0
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 2.0
_TABLE: Final = "pier-dns"
_RULES: Final = """
create table ip {table}
add chain ip {table} output {{ type nat hook output priority -100; policy accept; }}
add rule ip {table} output ip daddr {address} udp dport 53 dnat to {address}:{udp}
add rule ip {table} output ip daddr {address} tcp dport 53 dnat to {address}:{tcp}
"""


def served(view: View) -> Served | None:
    """What the sandbox is answered; None where none of its networks has names."""
    joins, forward = [], False
    for endpoint in view.endpoints:
        network = view.networks[endpoint.network_id]
        if not endpoint.addresses:
            continue
        forward = forward or not network.internal
        if network.predefined:
            continue
        spec = endpoint.request.spec
        links = (link.partition(":") for link in spec.links)
        joins.append(Join(
            network.id, network.name, tuple(dict.fromkeys([*view.sandbox.request.names, *spec.aliases])),
            tuple(str(address.ip) for address in endpoint.addresses), tuple((alias, name) for name, _, alias in links),
        ))
    return Served(view.sandbox.id, tuple(view.sandbox.request.dns), forward, tuple(joins)) if joins else None


class Dns:
    """The resolver, as far as netd knows of it. ``put`` and ``drop`` say what should be; the rest follows."""

    def __init__(
        self, path: Path, threads: Threads, operations: Operations, pin_of: Callable[[str], Path]
    ) -> None:
        self._path = path
        self._threads = threads
        self._operations = operations
        self._pin_of = pin_of
        self._wanted: dict[str, Served] = {}
        self._link: _Link | None = None
        self._there = asyncio.Event()
        self._connecting = False
        self._closed = False

    @property
    def is_there(self) -> bool:
        return self._link is not None

    async def start(self, wanted: Iterable[Served]) -> None:
        """Take that for what should be, and tell the resolver, at once if it is there."""
        self._wanted = {item.id: item for item in wanted}
        self._connect()
        if self._wanted:
            await self._wait(_START_SECONDS)

    def close(self) -> None:
        """Leave the resolver to itself."""
        self._closed = True
        if self._link is not None:
            self._link.close()

    async def settle(self, before: View, after: View) -> None:
        """Serve the sandbox as it is ``after``, where that differs from ``before``. A resolver that is away is told
        when it is back, unless the sandbox was not served before: then Unavailable is raised."""
        was, now = served(before), served(after)
        if now is None or now == was:
            if now is None and was is not None:
                await self.drop(was.id)
        elif was is None:
            await self.put(now)
        else:
            self._wanted[now.id] = now
            if (link := self._link) is not None:
                await self._told(link, "put", lambda: self._put(link, now, fresh=False))

    async def put(self, item: Served) -> None:
        """Serve a sandbox so, which was not served before. Raises Unavailable where there is no resolver."""
        link = await self._found()
        self._wanted[item.id] = item
        async with stage("dns.put", sandbox=item.id):
            await self._put(link, item, fresh=True)

    async def drop(self, id_: str) -> None:
        """Serve a sandbox no longer. A resolver that is away is told when it is back."""
        if self._wanted.pop(id_, None) is not None and (link := self._link) is not None:
            await self._told(link, "drop", lambda: link.ask("drop", id=id_))

    async def _told(self, link: _Link, verb: str, tell: Callable[[], Awaitable[object]]) -> None:
        """Tell of a change. A resolver that does not take it is told everything on a new connection."""
        async with stage(f"dns.{verb}"):
            try:
                await tell()
            except (Unavailable, Internal) as error:
                logger().warning("the resolver was not told of a change", verb=verb, error=error.message)
                if self._link is link:
                    link.close()
                    self._lost()

    async def differences(self) -> list[str]:
        """How what the resolver serves differs from what it should, a sentence each. One that is just being told counts
        as what it is a moment later."""
        if self._wanted:
            await self._wait(_START_SECONDS)
        if self._link is None:
            return ["the resolver is not there"] if self._wanted else []
        there = await self._link.served()
        found = [f"the resolver does not serve sandbox {id_}" for id_ in sorted(set(self._wanted) - there)]
        return found + [f"the resolver serves sandbox {id_}, which is nobody's"
                        for id_ in sorted(there - set(self._wanted))]

    async def repair(self) -> None:
        if self._link is not None:
            await self._tell_all(self._link)

    async def _wait(self, seconds: float) -> None:
        """Until the resolver is there and knows everything, ``seconds`` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._there.wait()

    async def _found(self) -> _Link:
        await self._wait(_AWAY_SECONDS)
        if self._link is None:
            raise Unavailable("the resolver is not there: names of containers cannot be answered",
                              reason="NO_RESOLVER")
        return self._link

    async def _put(self, link: _Link, item: Served, fresh: bool) -> None:
        sockets: tuple[socket.socket, ...] = ()
        try:
            if fresh:
                sockets = await self._threads.run(open_sockets, self._pin_of(item.id))
            await link.ask("put", [sock.fileno() for sock in sockets], sandbox=item.to_json())
        finally:
            for sock in sockets:
                sock.close()

    def _connect(self) -> None:
        if not self._connecting and not self._closed:
            self._connecting = True
            self._operations.spawn("resolver", self._connect_until_there)

    async def _connect_until_there(self) -> None:
        delay = _FIRST_DELAY
        try:
            while True:
                link = _Link(self._lost)
                try:
                    with trace("resolver"):
                        await link.connect(self._path)
                        await self._tell_all(link)
                    self._link = link
                    self._there.set()
                    return
                except (OSError, Unavailable, Internal) as error:
                    link.close()
                    if not isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
                        logger().warning("the resolver cannot be told what to serve", error=str(error))
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY)
        finally:
            self._connecting = False

    async def _tell_all(self, link: _Link) -> None:
        """Bring what it serves to what it should serve, also where that changes meanwhile."""
        async with stage("dns.sync", sandboxes=len(self._wanted)):
            there = await link.served()
            told: dict[str, Served] = {}
            while True:
                gone = there - set(self._wanted)
                fresh = [item for item in self._wanted.values() if told.get(item.id) != item]
                if not gone and not fresh:
                    return
                for id_ in gone:
                    await link.ask("drop", id=id_)
                there -= gone
                for item in fresh:  # all names first, so that nobody who can ask is answered by some of them
                    told[item.id] = item
                    await self._put_if_possible(link, item, fresh=False)
                for item in fresh:
                    if item.id not in there:
                        await self._put_if_possible(link, item, fresh=True)
                there.update(item.id for item in fresh)

    async def _put_if_possible(self, link: _Link, item: Served, fresh: bool) -> None:
        try:
            await self._put(link, item, fresh)
        except (OSError, Internal) as error:  # its namespace is lost: another finding of fsck's
            logger().warning("a sandbox has no DNS", sandbox=item.id, error=str(error))

    def _lost(self) -> None:
        self._link = None
        self._there.clear()
        if not self._closed:
            logger().warning("the resolver is gone; its successor is told all of it")
            self._connect()


def open_sockets(pin: Path) -> tuple[socket.socket, ...]:
    """The UDP and the TCP socket inside a sandbox, with port 53 led there. Blocks. What was there is replaced."""
    def work() -> tuple[socket.socket, ...]:
        kinds = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
        sockets = tuple(socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC) for kind in kinds)
        try:
            for sock in sockets:
                sock.bind((protocol.ADDRESS, 0))
            udp, tcp = sockets
            tcp.listen(16)
            _lead(_RULES.format(
                table=_TABLE, address=protocol.ADDRESS, udp=udp.getsockname()[1], tcp=tcp.getsockname()[1]
            ))
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        return sockets

    return netns.inside(pin, work)


def _lead(rules: str) -> None:
    nft = Nft()
    try:
        try:
            nft.run_text(rules)
        except NftError:
            # It is there, from a resolver that was lost. A delete waits for RCU (15 ms, against 0.5 ms of the rest),
            # so nothing is deleted where there is nothing.
            nft.run_text(f"delete table ip {_TABLE}\n{rules}")
    finally:
        nft.close()


class _Link:
    """A connection to the resolver. ``lost`` is called at its end, unless ``close`` made it."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost
        self._socket: socket.socket | None = None
        self._sequence = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def connect(self, path: Path) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * protocol.MESSAGE_MAX)
            sock.connect(str(path))
        except BaseException:
            sock.close()
            raise
        self._socket = sock
        asyncio.get_running_loop().add_reader(sock, self._readable)

    def close(self) -> None:
        """The same again does nothing."""
        sock, self._socket = self._socket, None
        if sock is not None:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Unavailable("the resolver is gone", reason="NO_RESOLVER"))
        self._waiting.clear()

    async def ask(self, verb: str, fds: Iterable[int] = (), **message: object) -> dict[str, Any]:
        """The answer. Raises Unavailable where it is gone or does not answer, Internal where it refuses."""
        if self._socket is None:
            raise Unavailable("the resolver is gone", reason="NO_RESOLVER")
        sequence = next(self._sequence)
        try:
            data = protocol.pack(seq=sequence, verb=verb, **message)
        except ValueError as error:  # names without end: one sandbox's matter, not the resolver's
            raise Internal(f"the resolver cannot be told: {error}", reason="RESOLVER_REFUSED") from error
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[sequence] = future
        try:
            socket.send_fds(self._socket, [data], list(fds))
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await future
        except OSError as error:  # TimeoutError is one
            raise Unavailable(f"the resolver does not answer: {error!r}", reason="NO_RESOLVER") from error
        finally:
            self._waiting.pop(sequence, None)
        if not answer.get("ok"):
            raise Internal(f"the resolver refuses {verb}: {answer.get('error')}", reason="RESOLVER_REFUSED")
        return answer

    async def served(self) -> set[str]:
        """The sandboxes that have sockets there."""
        found: set[str] = set()
        after = ""
        while page := (await self.ask("hello", version=protocol.VERSION, after=after))["served"]:
            found.update(page)
            after = page[-1]
        return found

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(protocol.MESSAGE_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            self._lost()
            return
        answer = protocol.unpack(data)
        future = self._waiting.get(answer.get("seq") or 0)
        if future is not None and not future.done():
            future.set_result(answer)
