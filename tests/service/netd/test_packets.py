"""Who reaches whom through the table, over IPv4."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netd import links, netns
from netd.table import PublishedPort
from tests import world
from tests.service.netd.lab import LOOPBACK, OUTSIDE, Lab
from tests.service.netd.packets import attempt, listener, on_host, reach


def test_a_container_reaches_the_host_and_the_host_reaches_it(lab: Lab) -> None:
    one = lab.add_container("pt0", 2)
    with listener(on_host, "10.77.0.1", 80) as server:
        assert reach(one.make, "10.77.0.1", 80, server) == "10.77.0.2"
    with listener(one.make, "0.0.0.0", 80) as server:
        assert reach(on_host, "10.77.0.2", 80, server) == "10.77.0.1"


def test_a_container_reaches_outside_by_the_hosts_address(lab: Lab) -> None:
    one = lab.add_container("pt0", 2)
    with listener(OUTSIDE, world.FAR, 7001) as server:
        assert reach(one.make, world.FAR, 7001, server) == world.ADDRESS


@pytest.mark.parametrize("protocol, kind", [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_published_port_is_reached_from_everywhere(lab: Lab, protocol: str, kind: int) -> None:
    one, two, other = lab.add_container("pt0", 2), lab.add_container("pt0", 3), lab.add_container("pt1", 2)
    lab.table.publish([one.port(8080, protocol=protocol)])
    with listener(one.make, "0.0.0.0", 80, kind) as server:
        assert reach(OUTSIDE, world.ADDRESS, 8080, server) == world.GATEWAY, "from outside, with its own address"
        assert reach(on_host, world.ADDRESS, 8080, server) is not None, "from the host at its own address"
        assert reach(on_host, "127.0.0.1", 8080, server) == "10.77.0.1", "from the host at 127.0.0.1"
        assert reach(two.make, world.ADDRESS, 8080, server) is not None, "from a neighbour at the host's address"
        assert reach(two.make, "10.77.0.1", 8080, server) is not None, "from a neighbour at the gateway"
        assert reach(one.make, world.ADDRESS, 8080, server) is not None, "from itself: hairpin"
        assert reach(other.make, world.ADDRESS, 8080, server) is not None, "from another network"


def test_a_port_at_one_address_is_published_there_alone(lab: Lab) -> None:
    one, two = lab.add_container("pt0", 2), lab.add_container("pt0", 3)
    lab.table.publish([one.port(8080, LOOPBACK)])
    lab.table.publish([PublishedPort("f" * 64, "tcp", IPv4Address(world.ADDRESS), 8080, two.address, 80)])
    with listener(one.make, "0.0.0.0", 80) as at_loopback, listener(two.make, "0.0.0.0", 80) as at_eth0:
        assert reach(on_host, "127.0.0.1", 8080, at_loopback) is not None
        assert reach(OUTSIDE, world.ADDRESS, 8080, at_eth0) == world.GATEWAY


def test_an_unpublished_port_is_reached_no_more(lab: Lab) -> None:
    one = lab.add_container("pt0", 2)
    lab.table.publish([one.port(8080), one.port(8081, LOOPBACK)])
    lab.table.unpublish("e" * 64)
    lab.table.unpublish("e" * 64)
    with listener(one.make, "0.0.0.0", 80) as server:
        assert attempt(OUTSIDE, world.ADDRESS, 8080, server) is None
        assert attempt(on_host, "127.0.0.1", 8081, server) is None


def test_networks_do_not_reach_each_other(lab: Lab) -> None:
    one, other = lab.add_container("pt0", 2), lab.add_container("pt1", 2)
    with listener(other.make, "0.0.0.0", 80) as server:
        assert attempt(one.make, str(other.address), 80, server) is None
        assert reach(on_host, str(other.address), 80, server) is not None


def test_an_internal_network_reaches_neither_outside_nor_other_networks(lab: Lab) -> None:
    one, two, other = lab.add_container("ptint", 2), lab.add_container("ptint", 3), lab.add_container("pt0", 2)
    with listener(OUTSIDE, world.FAR, 7001) as server:
        assert attempt(one.make, world.FAR, 7001, server) is None
    with listener(other.make, "0.0.0.0", 80) as server:
        assert attempt(one.make, str(other.address), 80, server) is None
    lab.table.publish([other.port(8080)])
    with listener(other.make, "0.0.0.0", 80) as server:
        assert attempt(one.make, world.ADDRESS, 8080, server) is None, "by a published port neither"
        assert attempt(two.make, "10.77.2.1", 8080, server) is None
    with listener(two.make, "0.0.0.0", 80) as server:
        assert reach(one.make, str(two.address), 80, server) == str(one.address)


@pytest.fixture
def neighbour_routes(lab: Lab) -> Iterator[None]:
    """The outside host sends packets for the containers' subnet, and for 127.0.0.0/8, to this host."""
    ip = ["ip", "-n", world.OUTSIDE.name]
    switch = Path("/proc/sys/net/ipv4/conf/world0/route_localnet")
    subprocess.run([*ip, "route", "add", "10.77.0.0/16", "via", world.ADDRESS], check=True)
    netns.inside(world.OUTSIDE, lambda: switch.write_text("1"))
    subprocess.run([*ip, "address", "del", "127.0.0.1/8", "dev", "lo"], check=True)
    subprocess.run([*ip, "route", "add", "127.0.0.1/32", "via", world.ADDRESS, "src", world.GATEWAY], check=True)
    yield
    subprocess.run([*ip, "route", "del", "127.0.0.1/32", "via", world.ADDRESS], check=True)
    subprocess.run([*ip, "address", "add", "127.0.0.1/8", "dev", "lo"], check=True)
    netns.inside(world.OUTSIDE, lambda: switch.write_text("0"))
    subprocess.run([*ip, "route", "del", "10.77.0.0/16", "via", world.ADDRESS], check=True)


def test_66_a_neighbour_reaches_neither_containers_nor_what_is_published_on_loopback(
    lab: Lab, neighbour_routes: None
) -> None:
    one = lab.add_container("pt0", 2)
    lab.table.publish([one.port(8080, LOOPBACK)])
    with listener(one.make, "0.0.0.0", 80) as server:
        assert attempt(OUTSIDE, "10.77.0.2", 80, server, source=world.GATEWAY) is None, "by its address"
        assert attempt(OUTSIDE, "127.0.0.1", 8080, server, source=world.GATEWAY) is None, "by the loopback address"
        assert reach(on_host, "127.0.0.1", 8080, server) is not None


def test_66_a_container_does_not_reach_the_hosts_loopback(lab: Lab) -> None:
    one = lab.add_container("pt0", 2)
    with netns.enter(one.path) as inner:
        eth0 = links.link(inner, "eth0")
    netns.inside(one.path, lambda: Path("/proc/sys/net/ipv4/conf/eth0/route_localnet").write_text("1"))
    ip = ["nsenter", f"--net={one.path}", "ip"]
    subprocess.run([*ip, "address", "del", "127.0.0.1/8", "dev", "lo"], check=True)
    subprocess.run([*ip, "route", "add", "127.0.0.1/32", "via", "10.77.0.1", "src", "10.77.0.2"], check=True)
    assert eth0.up
    with listener(on_host, "127.0.0.1", 80) as server:
        assert attempt(one.make, "127.0.0.1", 80, server, source="10.77.0.2") is None
