"""IPv6: addresses, routes, published ports and names, with real packets."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from chassis.errors import Conflict, InvalidArgument
from netd import links, netns
from pier.network.v1 import network_pb2 as net
from tests import world
from tests.service.netd.engine import Netd, container, run, tcp
from tests.service.netd.packets import (
    PATIENCE_SECONDS,
    exchange,
    in_namespace,
    in_namespace6,
    listener,
    on_host,
    on_host6,
)
from tests.service.netd.test_dns import ask, found
from tests.service.netd.test_service import OUTSIDE, attempted, path_of, reached

OUTSIDE6 = in_namespace6(world.OUTSIDE)


def both(endpoint: net.Endpoint) -> tuple[str, str]:
    return endpoint.ipv4.partition("/")[0], endpoint.ipv6.partition("/")[0]


async def test_a_network_has_a_subnet_of_its_own_unique_local_prefix_that_nobody_has(netd: Netd) -> None:
    first = await netd.create_network(7, "blue", enable_ipv6=True)
    taken = IPv6Network(first.spec.pools[1].subnet)
    assert taken.prefixlen == 64
    assert taken.network_address in IPv6Network("fd00::/8")
    following = IPv6Network((int(taken.network_address) + (1 << 64), 64))
    run("ip", "-6", "route", "add", str(following), "dev", "eth0")
    second = await netd.create_network(0x8 << 240, "red", enable_ipv6=True)
    run("ip", "-6", "route", "del", str(following), "dev", "eth0")
    chosen = IPv6Network(second.spec.pools[1].subnet)
    assert not chosen.overlaps(taken)
    assert not chosen.overlaps(following), "the host has a route there"


async def test_an_endpoint_has_addresses_and_routes_of_both_versions_at_once(netd: Netd) -> None:
    await netd.create_network(7, "blue", enable_ipv6=True, pools=[net.Pool(subnet="fd81::/64")])
    made = await netd.create(1)
    endpoint = await netd.attach(1, "blue")
    assert (endpoint.ipv6, endpoint.gateway_ipv6) == ("fd81::2/64", "fd81::1")
    with netns.enter(path_of(made)) as sock:
        gateways = {str(route.gateway) for route in links.routes(sock) if route.destination.prefixlen == 0}
    assert gateways == {endpoint.gateway_ipv4, "fd81::1"}
    inside = in_namespace6(path_of(made))
    with listener(OUTSIDE6, world.GATEWAY6, 7001) as server:
        assert await reached(inside, world.GATEWAY6, 7001, server) == world.ADDRESS6
    with listener(on_host6, "fd81::1", 7002) as server:
        assert await reached(inside, "fd81::1", 7002, server) == "fd81::2"


async def test_a_network_without_ipv4_works_alone(netd: Netd, free_port: int) -> None:
    network = await netd.create_network(7, "six", enable_ipv4=False, enable_ipv6=True)
    assert len(network.spec.pools) == 1
    one, two = await netd.create(1), await netd.create(2)
    first, second = await netd.attach(1, "six", ports=[tcp(free_port)]), await netd.attach(2, "six")
    assert (first.ipv4, first.gateway_ipv4) == ("", "")
    assert first.mac != second.mac
    assert [(port.host_ip, port.host_port) for port in first.ports] == [("::", free_port)]
    with listener(in_namespace6(path_of(one)), "::", 80) as server:
        assert await reached(in_namespace6(path_of(two)), both(first)[1], 80, server) == both(second)[1]
        assert await reached(OUTSIDE6, world.ADDRESS6, free_port, server) == world.GATEWAY6
    await netd.create(3)
    with pytest.raises(InvalidArgument, match="has no IPv4"):
        await netd.attach(3, "six", ipv4="10.0.0.2")
    with pytest.raises(InvalidArgument, match="no IPv4 address"):
        await netd.attach(3, "six", ports=[tcp(0, "127.0.0.1")])
    assert await netd.fsck() == []


@pytest.mark.parametrize("protocol, kind", [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
async def test_a_port_of_a_container_of_both_versions_is_published_on_both_under_one_number(
    netd: Netd, protocol: str, kind: int
) -> None:
    await netd.create_network(7, "blue", enable_ipv6=True)
    made = await netd.create(1)
    endpoint = await netd.attach(1, "blue", ports=[tcp(0, protocol=protocol)])
    number = endpoint.ports[0].host_port
    assert [(port.host_ip, port.host_port) for port in endpoint.ports] == [("0.0.0.0", number), ("::", number)]
    for make, target, address, peer in (
        (in_namespace, "0.0.0.0", world.ADDRESS, world.GATEWAY), (in_namespace6, "::", world.ADDRESS6, world.GATEWAY6)
    ):
        with listener(make(path_of(made)), target, 80, kind) as server:
            assert await reached(make(world.OUTSIDE), address, number, server) == peer
            assert await reached(make(path_of(made)), address, number, server) is not None, "hairpin"
    with socket.socket(socket.AF_INET6, kind) as stranger, pytest.raises(OSError, match="in use"):  # noqa: PT012
        stranger.bind(("::", number))
        stranger.listen()
    await netd.kill()
    await netd.start()
    assert await netd.fsck() == []
    assert len((await netd.set_ports(1, tcp(number, protocol=protocol), network="blue")).ports) == 2
    kept = await netd.set_ports(1, tcp(number, "::", protocol=protocol), network="blue")
    assert [port.host_ip for port in kept.ports] == ["::"]
    with listener(in_namespace(path_of(made)), "0.0.0.0", 80, kind) as server:
        assert await attempted(OUTSIDE, world.ADDRESS, number, server) is None
    assert len((await netd.set_ports(1, tcp(number, protocol=protocol), network="blue")).ports) == 2
    assert await netd.fsck() == []


async def test_a_udp_flow_over_ipv6_follows_the_port_to_the_next_container(netd: Netd, free_port: int) -> None:
    await netd.create_network(7, "blue", enable_ipv6=True)
    target = (world.ADDRESS6, free_port)
    with OUTSIDE6(socket.SOCK_DGRAM) as client:
        client.sendto(b"early", target)
        for number in (1, 2):
            made = await netd.create(number)
            await netd.attach(number, "blue", ports=[tcp(free_port, protocol="udp")])
            with listener(in_namespace6(path_of(made)), "::", 80, socket.SOCK_DGRAM) as server:
                await asyncio.to_thread(exchange, client, target, server, b"hello %d" % number)
            await netd.remove(number)


async def test_an_ipv6_port_of_another_program_is_refused_and_ipv4_is_let_go(netd: Netd, free_port: int) -> None:
    await netd.create_network(7, "blue", enable_ipv6=True)
    await netd.create(1)
    with socket.socket(socket.AF_INET6) as taken:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind(("::", free_port))
        with pytest.raises(Conflict, match="already allocated"):
            await netd.attach(1, "blue", ports=[tcp(free_port)])
        with listener(on_host, "0.0.0.0", free_port):
            pass
        await netd.attach(1, "blue", ports=[tcp(free_port, "0.0.0.0")])


async def test_a_fixed_address_is_given_once_and_a_restart_of_netd_keeps_it(netd: Netd) -> None:
    await netd.create_network(7, "blue", enable_ipv6=True, pools=[net.Pool(
        subnet="fd81::/64", range="fd81::100/120", gateway="fd81::ffff", auxiliary={"a": "fd81::101"})])
    for number in (1, 2, 3):
        await netd.create(number)
    assert (await netd.attach(1, "blue")).ipv6 == "fd81::100/64"
    assert (await netd.attach(2, "blue", ipv6="fd81::77")).ipv6 == "fd81::77/64"
    await netd.kill()
    await netd.start()
    with pytest.raises(Conflict, match="already in use"):
        await netd.attach(3, "blue", ipv6="fd81::77")
    endpoint = await netd.attach(3, "blue")
    assert (endpoint.ipv6, endpoint.gateway_ipv6) == ("fd81::102/64", "fd81::ffff")


async def test_without_an_ipv6_network_a_container_has_loopback_alone(netd: Netd) -> None:
    made = await netd.create(1)
    await netd.attach(1)
    with netns.enter(path_of(made)) as sock:
        there = [str(each.address) for each in links.addresses(sock) if each.address.version == 6]
    assert there == ["::1/128"]
    await netd.create_network(7, "blue", enable_ipv6=True)
    endpoint = await netd.attach(1, "blue")
    with netns.enter(path_of(made)) as sock:
        eth1 = links.link(sock, "eth1").index
        where = {str(each.address): each.link for each in links.addresses(sock)}
    assert where[endpoint.ipv6] == eth1
    assert netns.inside(path_of(made), lambda: Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").read_text()) == "1\n"


async def test_names_are_answered_with_addresses_of_both_versions_and_stand_in_the_files(netd: Netd) -> None:
    await netd.create_network(7, "blue", enable_ipv6=True)
    one = await netd.create(1, names=["one"], hostname="one")
    await netd.create(2, names=["two"])
    first, second = await netd.attach(1, "blue"), await netd.attach(2, "blue")
    assert found(await ask(one, "two", "A")) == {both(second)[0]}
    assert found(await ask(one, "two", "AAAA")) == {both(second)[1]}
    reverse = IPv6Address(both(second)[1]).reverse_pointer
    assert found(await ask(one, reverse, "PTR")) == {"two.blue."}
    answer = await netd.peer.call(netd.stub.RenderFiles, net.RenderFilesRequest(sandbox_id=container(1)))
    lines = answer.files.hosts.decode().splitlines()
    assert [f"{address}\tone" for address in both(first)] == lines[-2:]


async def test_65_a_flushed_ruleset_is_repaired_for_ipv6_too(netd: Netd, free_port: int) -> None:
    await netd.create_network(7, "blue", enable_ipv6=True)
    made = await netd.create(1)
    await netd.attach(1, "blue", ports=[tcp(free_port)])
    run("nft", "flush ruleset")
    with listener(in_namespace6(path_of(made)), "::", 80) as server:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await attempted(OUTSIDE6, world.ADDRESS6, free_port, server) is None:
                pass
    assert await netd.fsck() == []


async def test_a_host_that_listens_to_routers_goes_on_when_it_begins_to_forward(netd: Netd) -> None:
    switch = Path("/proc/sys/net/ipv6/conf/eth0/accept_ra")
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("0")
    switch.write_text("1")
    await netd.create_network(7, "blue", enable_ipv6=True)
    assert switch.read_text() == "2\n", "even though it forwards (Documentation/networking/ip-sysctl)"
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("0")
    findings = [finding.subject for finding in await netd.fsck(repair=True)]
    assert findings == ["net.ipv6.conf.all.forwarding"]
    assert await netd.fsck() == []


async def test_62_forwarded_traffic_never_appears_as_from_loopback(netd: Netd, free_port: int) -> None:
    await netd.create_network(7, "blue", enable_ipv6=True)
    made = await netd.create(1)
    endpoint = await netd.attach(1, "blue", ports=[tcp(free_port)])
    ways = (
        (in_namespace, "0.0.0.0", OUTSIDE, on_host, "127.0.0.1", world.ADDRESS, world.GATEWAY, endpoint.gateway_ipv4),
        (in_namespace6, "::", OUTSIDE6, on_host6, world.ADDRESS6, world.ADDRESS6, world.GATEWAY6, world.ADDRESS6),
    )
    for inside, everywhere, outside, host, own, address, peer, seen in ways:
        with listener(inside(path_of(made)), everywhere, 80) as server:
            assert await reached(outside, address, free_port, server) == peer, "the sender's own address is kept"
            assert await reached(host, own, free_port, server) in (seen, endpoint.gateway_ipv6)
