"""netd tells the resolver what to serve: nothing is lost on the way, and no sandbox takes another's names with it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from chassis.blocking import Pool
from chassis.errors import Internal
from chassis.operations import Operations
from netd import dns
from netd.resolver import protocol
from netd.resolver.counters import Counters
from netd.resolver.hosts import HostResolvers
from netd.resolver.loop import Loop
from netd.resolver.program import Control
from netd.resolver.protocol import Join, Served
from netd.resolver.sandboxes import Sandboxes

Sockets = tuple[socket.socket, socket.socket]


class Watched(Sandboxes):
    """The resolver's sandboxes: what they were put to last, and what is called first, on the resolver's thread."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.last: dict[str, Served] = {}
        self.before_put: Callable[[Served], object] = id

    def put(self, served: Served, sockets: Sockets | None) -> None:
        self.before_put(served)
        super().put(served, sockets)
        self.last[served.id] = served


def sockets_of(_pin: Path) -> Sockets:
    """As netd opens them, on this namespace's loopback."""
    udp, tcp = (socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM))
    for sock in (udp, tcp):
        sock.bind(("127.0.0.1", 0))
    tcp.listen()
    return udp, tcp


@pytest.fixture
def resolver(tmp_path: Path) -> Iterator[Watched]:
    loop = Loop()
    sandboxes = Watched(loop, Counters(str(tmp_path / "counters")), HostResolvers())
    control = Control(loop, str(tmp_path / "socket"), sandboxes)
    thread = threading.Thread(target=loop.run)
    thread.start()
    yield sandboxes
    loop.stop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as last:
        last.connect(str(tmp_path / "socket"))  # wakes it
        thread.join(10)
    for id_ in sandboxes.ids:
        sandboxes.drop(id_)
    control.close()
    loop.close()


@pytest.fixture
async def told(tmp_path: Path, resolver: Watched, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dns.Dns]:
    monkeypatch.setattr(dns, "open_sockets", sockets_of)
    monkeypatch.setattr(dns, "served", lambda view: view)  # what should be is said itself here
    operations, threads = Operations(), Pool("dns", 1)
    made = dns.Dns(tmp_path / "socket", threads, operations, tmp_path.joinpath)
    yield made
    made.close()
    await operations.close()
    threads.close()


def sandbox(id_: str, *names: str) -> Served:
    return Served(id_, (), False, (Join("n", "blue", names, ("10.0.0.2",)),))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


async def test_a_change_while_the_resolver_is_told_everything_is_not_lost(told: dns.Dns, resolver: Watched) -> None:
    reached, go = threading.Event(), threading.Event()

    def wait(served: Served) -> None:
        if served.id == "b":
            reached.set()
            go.wait(5)

    resolver.before_put = wait
    first, second, renamed = sandbox("a", "web"), sandbox("b", "db"), sandbox("a", "www")
    starting = asyncio.create_task(told.start([first, second]))
    await asyncio.to_thread(reached.wait, 5)
    await told.settle(first, renamed)  # type: ignore[arg-type]
    go.set()
    await starting
    await until(lambda: resolver.last.get("a") == renamed)
    assert resolver.last["b"] == second


async def test_a_change_that_was_not_taken_is_told_again(told: dns.Dns, resolver: Watched) -> None:
    before, after = sandbox("a", "web"), sandbox("a", "www")
    await told.start([before])
    refusals = [LookupError("not now")]

    def refuse(_served: Served) -> None:
        if refusals:
            raise refusals.pop()

    resolver.before_put = refuse
    await told.settle(before, after)  # type: ignore[arg-type]
    await until(lambda: resolver.last.get("a") == after)
    assert not refusals


async def test_a_sandbox_with_names_without_end_leaves_the_others_theirs(told: dns.Dns, resolver: Watched) -> None:
    endless = sandbox("a", *(f"{number:0255}" for number in range(600)))
    await told.start([endless, sandbox("b", "db")])
    await until(lambda: "b" in resolver.last)
    assert told.is_there
    assert await told.differences() == ["the resolver does not serve sandbox a"]
    with pytest.raises(Internal, match="longer than"):
        await told.put(endless._replace(id="c"))


async def test_what_is_served_is_told_in_pages(
    told: dns.Dns, resolver: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "PAGE", 2)
    await told.start([sandbox(id_, "db") for id_ in "abcde"])
    assert await told.differences() == []
    resolver.last.clear()


def test_a_client_that_gets_no_thread_is_sent_away_and_the_next_one_is_served(
    resolver: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    udp, tcp = sockets_of(Path())
    with contextlib.ExitStack() as stack:
        with monkeypatch.context() as patched:
            def none(_self: threading.Thread) -> None:
                raise RuntimeError("can't start new thread")

            patched.setattr(threading.Thread, "start", none)
            address = tcp.getsockname()
            resolver.put(sandbox("a", "web"), (udp, tcp))
            sent_away = stack.enter_context(socket.create_connection(address, 30))
            assert sent_away.recv(1) == b""
        client = stack.enter_context(socket.create_connection(address, 30))
        client.sendall(b"\0\x0c" + b"\x12\x34" + bytes(10))
        assert client.recv(14)[2:4] == b"\x12\x34"
    deadline = time.monotonic() + 30
    while threading.active_count() > 2 and time.monotonic() < deadline:
        time.sleep(0.01)
