"""Options of networks: what Docker's keys do to packets, links and addresses."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chassis.errors import Conflict, InvalidArgument, ResourceExhausted
from netd import links, netns, options
from netd.netlink import NetlinkSocket
from pier.network.v1 import network_pb2 as net
from tests import world
from tests.service.netd.engine import Netd, run, tcp
from tests.service.netd.packets import in_namespace, listener, on_host
from tests.service.netd.test_service import OUTSIDE, attempted, path_of, reached


def pool(subnet: str, **fields: object) -> net.Pool:
    return net.Pool(subnet=subnet, **fields)  # type: ignore[arg-type]


def address_of(endpoint: net.Endpoint) -> str:
    return endpoint.ipv4.partition("/")[0]


async def test_addresses_come_from_the_range_and_never_are_the_gateways_or_auxiliary(netd: Netd) -> None:
    network = await netd.create_network(7, "blue", pools=[pool(
        "10.81.0.0/24", range="10.81.0.64/30", gateway="10.81.0.65", auxiliary={"router": "10.81.0.66"})])
    assert network.spec.pools[0].range == "10.81.0.64/30"
    assert dict(network.spec.pools[0].auxiliary) == {"router": "10.81.0.66"}
    found = []
    for number in (1, 2):
        await netd.create(number)
        found.append(await netd.attach(number, "blue"))
    assert [endpoint.ipv4 for endpoint in found] == ["10.81.0.64/24", "10.81.0.67/24"]
    assert found[0].gateway_ipv4 == "10.81.0.65"
    await netd.create(3)
    with pytest.raises(ResourceExhausted, match="no available IPv4 addresses"):
        await netd.attach(3, "blue")
    with pytest.raises(Conflict, match="already in use"):
        await netd.attach(3, "blue", ipv4="10.81.0.66")
    assert (await netd.attach(3, "blue", ipv4="10.81.0.9")).ipv4 == "10.81.0.9/24", "asked for, outside of the range"
    assert await netd.fsck() == []


async def test_a_networks_second_subnet_is_used_when_the_first_is_full_and_its_gateway_is_its_own(netd: Netd) -> None:
    await netd.create_network(7, "blue", pools=[pool("10.81.0.0/30"), pool("10.82.0.0/24")])
    one, two = await netd.create(1), await netd.create(2)
    first, second = await netd.attach(1, "blue"), await netd.attach(2, "blue")
    assert (first.ipv4, second.ipv4) == ("10.81.0.2/30", "10.82.0.2/24")
    assert (first.gateway_ipv4, second.gateway_ipv4) == ("10.81.0.1", "10.82.0.1")
    with listener(in_namespace(path_of(two)), "0.0.0.0", 80) as server:
        assert await reached(in_namespace(path_of(one)), "10.82.0.2", 80, server) == "10.81.0.2"
    with listener(OUTSIDE, world.FAR, 7001) as server:
        assert await reached(in_namespace(path_of(two)), world.FAR, 7001, server) == world.ADDRESS
    await netd.kill()
    await netd.start()
    assert await netd.fsck() == []
    await netd.create(3)
    assert (await netd.attach(3, "blue", ipv4="10.82.0.77")).gateway_ipv4 == "10.82.0.1"


async def test_a_bridge_has_the_name_that_was_asked_for_and_nobody_elses(netd: Netd) -> None:
    network = await netd.create_network(7, "blue", options={options.NAME: "br-blue"})
    assert network.link == "br-blue"
    assert Path("/sys/class/net/br-blue/bridge").exists()
    run("ip", "link", "add", "br-theirs", "type", "bridge")
    with pytest.raises(Conflict, match="not this engine's"):
        await netd.create_network(0x8 << 240, "theirs", options={options.NAME: "br-theirs"})
    with pytest.raises(Conflict, match="another network's"):
        await netd.create_network(0x8 << 240, "again", options={options.NAME: "br-blue"})
    await netd.remove_network("blue")
    assert not Path("/sys/class/net/br-blue").exists()
    assert Path("/sys/class/net/br-theirs").exists()
    run("ip", "link", "del", "br-theirs")
    assert await netd.fsck() == []


@contextmanager
def route_back(subnet: str, gateway: str = world.ADDRESS) -> Iterator[None]:
    """The outside host knows the way to a network of containers."""
    ip = ["ip", "-n", world.OUTSIDE.name, "route"]
    subprocess.run([*ip, "add", subnet, "via", gateway], check=True)
    try:
        yield
    finally:
        subprocess.run([*ip, "del", subnet, "via", gateway], check=True)


async def test_without_masquerade_a_container_goes_out_under_its_own_address(netd: Netd) -> None:
    await netd.create_network(7, "blue", pools=[pool("10.81.0.0/24")], options={options.MASQUERADE: "false"})
    made = await netd.create(1)
    endpoint = await netd.attach(1, "blue")
    with route_back("10.81.0.0/24"), listener(OUTSIDE, world.FAR, 7001) as server:
        assert await reached(in_namespace(path_of(made)), world.FAR, 7001, server) == address_of(endpoint)


async def test_links_have_the_mtu_and_the_prefix_that_were_asked_for(netd: Netd) -> None:
    network = await netd.create_network(7, "blue", options={options.MTU: "1380", options.PREFIX: "blue"})
    made = await netd.create(1)
    endpoints = [await netd.attach(1, "blue"), await netd.attach(1, "bridge")]
    assert [endpoint.interface for endpoint in endpoints] == ["blue0", "eth0"]
    with netns.enter(path_of(made)) as inside, NetlinkSocket() as host:
        assert links.link(inside, "blue0").mtu == 1380
        assert links.link(host, network.link).mtu == 1380
        assert links.link(host, netd.instance.endpoint_link(endpoints[0].id)).mtu == 1380


async def test_a_port_asked_for_at_no_address_is_published_where_the_network_says(netd: Netd, free_port: int) -> None:
    await netd.create_network(7, "blue", options={options.BINDING: "127.0.0.1"})
    made = await netd.create(1)
    endpoint = await netd.attach(1, "blue", ports=[tcp(free_port), tcp(0, world.ADDRESS)])
    assert [port.host_ip for port in endpoint.ports] == ["127.0.0.1", world.ADDRESS]
    with listener(in_namespace(path_of(made)), "0.0.0.0", 80) as server:
        assert await reached(on_host, "127.0.0.1", free_port, server) is not None
        assert await attempted(OUTSIDE, world.ADDRESS, free_port, server) is None
        assert await reached(OUTSIDE, world.ADDRESS, endpoint.ports[1].host_port, server) == world.GATEWAY
    assert [port.host_port for port in (await netd.set_ports(1, tcp(free_port), network="blue")).ports] == [free_port]


async def test_a_routed_network_is_reached_at_its_own_addresses_and_takes_no_port_of_the_host(
    netd: Netd, free_port: int
) -> None:
    await netd.create_network(7, "blue", pools=[pool("10.81.0.0/24")], options={options.MODE[4]: "routed"})
    made = await netd.create(1)
    endpoint = await netd.attach(1, "blue", ports=[tcp(free_port)])
    assert [(port.host_ip, port.host_port) for port in endpoint.ports] == [("0.0.0.0", 0)]
    with socket.create_server(("", free_port)):
        pass
    inside = in_namespace(path_of(made))
    with route_back("10.81.0.0/24"):
        with listener(inside, "0.0.0.0", 80) as open_, listener(inside, "0.0.0.0", 81) as closed:
            assert await reached(OUTSIDE, address_of(endpoint), 80, open_) == world.GATEWAY
            assert await attempted(OUTSIDE, address_of(endpoint), 81, closed) is None
            assert await attempted(on_host, world.ADDRESS, free_port, open_) is None
            await netd.set_ports(1, tcp(free_port), tcp(free_port, container_port=81), network="blue")
            assert await reached(OUTSIDE, address_of(endpoint), 81, closed) == world.GATEWAY
            await netd.kill()
            await netd.start()
            assert await reached(OUTSIDE, address_of(endpoint), 81, closed) == world.GATEWAY
            await netd.set_ports(1, network="blue")
            assert await attempted(OUTSIDE, address_of(endpoint), 80, open_) is None
        with listener(OUTSIDE, world.FAR, 7001) as server:
            assert await reached(inside, world.FAR, 7001, server) == address_of(endpoint)
    assert await netd.fsck() == []


async def test_on_an_isolated_network_the_host_has_no_address(netd: Netd) -> None:
    network = await netd.create_network(
        7, "blue", internal=True, pools=[pool("10.81.0.0/24")], options={options.MODE[4]: "isolated"})
    assert network.spec.pools[0].gateway == ""
    one, two = await netd.create(1), await netd.create(2)
    first, second = await netd.attach(1, "blue"), await netd.attach(2, "blue")
    assert (first.ipv4, first.gateway_ipv4) == ("10.81.0.1/24", "")
    with NetlinkSocket() as sock:
        index = links.link(sock, network.link).index
        assert [each for each in links.addresses(sock) if each.link == index] == []
    with listener(in_namespace(path_of(two)), "0.0.0.0", 80) as server:
        assert await reached(in_namespace(path_of(one)), address_of(second), 80, server) == address_of(first)
        assert await attempted(on_host, address_of(second), 80, server) is None
    assert await netd.fsck() == []
    with pytest.raises(InvalidArgument, match="has no address"):
        await netd.create_network(0x8 << 240, "red", internal=True, options={options.MODE[4]: "isolated"},
                                  pools=[pool("10.83.0.0/24", gateway="10.83.0.1")])
