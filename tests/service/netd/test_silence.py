"""Where the claim is that no packet leaves, or none comes in, what passes the wire is looked at."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Iterator
from pathlib import Path

import dns.rcode
import pytest

from netd import links, netns
from netd.netlink import NetlinkSocket
from pier.network.v1 import network_pb2 as net
from tests import world
from tests.service.netd.capture import Capture, Seen, capture
from tests.service.netd.engine import Netd, run, tcp
from tests.service.netd.packets import PATIENCE_SECONDS, SocketMaker, in_namespace, in_namespace6, listener, on_host
from tests.service.netd.test_dns import ask
from tests.service.netd.test_service import OUTSIDE, attempted, path_of, reached

DUAL = {"internal": True, "enable_ipv6": True,
        "pools": [net.Pool(subnet="10.86.0.0/24"), net.Pool(subnet="fd86::/64")]}
KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
ISOLATED = {f"com.docker.network.bridge.gateway_mode_ipv{version}": "isolated" for version in (4, 6)}


def send(make: SocketMaker, kind: int, address: str, port: int) -> None:
    """A datagram, or the first packet of a connection, and no waiting for what becomes of it."""
    with make(kind) as sock:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect((address, port))
            sock.send(b"ping")


def sent(make: SocketMaker, kind: int, address: str, port: int, near: Capture) -> Seen:
    """``send``, seen to pass a link on its way."""
    send(make, kind, address, port)
    return near.wait(lambda seen: (seen.destination, seen.port) == (address, port))


def lead_out(sandbox: Path, bridge: str) -> None:
    """As a container with NET_ADMIN would: routes by the bridge's own MAC address, whether or not it has an address."""
    with NetlinkSocket() as host:
        mac = links.link(host, bridge).mac
    inside = ["nsenter", f"--net={sandbox}", "ip"]
    for version, gateway in (("-4", "10.86.0.99"), ("-6", "fd86::99")):
        run(*inside, version, "neigh", "replace", gateway, "lladdr", mac, "dev", "eth0")
        run(*inside, version, "route", "replace", "default", "via", gateway, "dev", "eth0")


@pytest.mark.parametrize("options", [{}, ISOLATED], ids=["internal", "isolated"])
async def test_63_no_packet_of_an_internal_network_leaves_the_host_whatever_the_container_does(
    netd: Netd, options: dict[str, str]
) -> None:
    network = await netd.create_network(7, "inner", **DUAL, options=options)
    made = await netd.create(1, names=["web"], dns=[world.NAMESERVER])
    await netd.attach(1, "inner")
    other = await netd.create(2)
    endpoint = await netd.attach(2, ports=[tcp(18181)])
    bridge = (await netd.network()).link
    lead_out(path_of(made), network.link)
    ways = [(in_namespace(path_of(made)), world.FAR), (in_namespace(path_of(made)), endpoint.ipv4.partition("/")[0]),
            (in_namespace6(path_of(made)), world.GATEWAY6)]
    with capture(network.link) as near, capture("eth0") as wire, capture(bridge) as neighbours:
        for make, address in ways:
            for kind in KINDS:
                sent(make, kind, address, 7001, near)
        assert (await ask(made, "example.org")).rcode() == dns.rcode.SERVFAIL
        assert wire.passed() == []
        assert neighbours.passed() == []
        sent(in_namespace(path_of(other)), socket.SOCK_DGRAM, world.FAR, 7001, neighbours)
        assert world.FAR in [seen.destination for seen in wire.passed()], "the test's own proof"


async def test_nothing_of_a_container_reaches_its_neighbour_where_they_may_not_speak(netd: Netd) -> None:
    quiet = {"com.docker.network.bridge.enable_icc": "false"}
    await netd.create_network(7, "quiet", pools=[net.Pool(subnet="10.86.0.0/24")], options=quiet)
    one, two = await netd.create(1), await netd.create(2)
    await netd.attach(1, "quiet")
    endpoint = await netd.attach(2, "quiet")
    address = endpoint.ipv4.partition("/")[0]
    with netns.enter(path_of(two)) as inside:
        mac = links.link(inside, "eth0").mac
    run("nsenter", f"--net={path_of(one)}", "ip", "neigh", "replace", address, "lladdr", mac, "dev", "eth0")
    with capture("eth0", path_of(one)) as near, capture("eth0", path_of(two)) as far:
        for kind in KINDS:
            sent(in_namespace(path_of(one)), kind, address, 7001, near)
        assert far.passed() == []
        sent(in_namespace(path_of(two)), socket.SOCK_DGRAM, "10.86.0.1", 7001, far)  # the test's own proof


@contextlib.contextmanager
def stream(address: str, port: int) -> Iterator[None]:
    """Datagrams and first packets of connections from outside, without an end, while the block runs."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            for kind in KINDS:
                send(OUTSIDE, kind, address, port)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


async def waited(capture: Capture, port: int) -> Seen:
    return await asyncio.to_thread(capture.wait, lambda seen: seen.port == port)


async def test_from_the_answer_on_no_packet_comes_in_by_a_port_that_was_withdrawn(netd: Netd, free_port: int) -> None:
    await netd.create(1)
    await netd.attach(1, ports=[tcp(free_port), tcp(free_port, protocol="udp")])
    await netd.create(2)
    await netd.attach(2)  # a bridge without a link takes no marker
    bridge = (await netd.network()).link
    with stream(world.ADDRESS, free_port), capture("eth0") as wire, capture(bridge) as inner:
        async def is_closed_by(withdraw: Awaitable[object]) -> None:
            await waited(inner, 80)
            await withdraw
            inner.passed()
            wire.passed()
            for _ in range(20):
                await waited(wire, free_port)
            assert [seen for seen in inner.passed() if seen.port in (80, free_port)] == []

        await is_closed_by(netd.set_ports(1))
        await netd.set_ports(1, tcp(free_port), tcp(free_port, protocol="udp"))
        await is_closed_by(netd.remove(1))


async def test_65_what_comes_in_after_a_flush_ends_with_the_repair(netd: Netd, free_port: int) -> None:
    made = await netd.create(1)
    address = (await netd.attach(1, ports=[tcp(free_port, "127.0.0.1")])).ipv4.partition("/")[0]
    network = await netd.network()
    await netd.create_network(7, "blue")
    other = await netd.create(2)
    await netd.attach(2, "blue")
    route = ["ip", "-n", world.OUTSIDE.name, "route"]
    run(*route, "add", network.spec.pools[0].subnet, "via", world.ADDRESS)
    try:
        with stream(address, 7001), capture("eth0") as wire, capture(network.link) as inner:
            await waited(wire, 7001)
            assert inner.passed() == [], "nothing is published"
            run("nft", "flush ruleset")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await netd.fsck():
                    pass
            window = inner.passed()
            print(f"{len(window)} packets came in between the flush and the repair")
            wire.passed()
            for _ in range(50):
                await waited(wire, 7001)
            assert inner.passed() == []
        with listener(in_namespace(path_of(made)), "0.0.0.0", 80) as server:
            assert await reached(on_host, "127.0.0.1", free_port, server) is not None
            for make, target in ((OUTSIDE, (world.ADDRESS, free_port)), (in_namespace(path_of(other)), (address, 80))):
                assert await attempted(make, *target, server) is None
    finally:
        run(*route, "del", network.spec.pools[0].subnet, "via", world.ADDRESS)
