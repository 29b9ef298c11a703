"""Who reaches whom through the table, over IPv6, and over both where a network is direct or silent."""

from __future__ import annotations

import socket
import subprocess
from ipaddress import IPv6Address

import pytest

from netd import links
from netd.table import ANY6
from tests import world
from tests.service.netd.lab import OUTSIDE, OUTSIDE6, Lab
from tests.service.netd.packets import attempt, listener, on_host6, reach


@pytest.mark.parametrize("protocol, kind", [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_port_published_on_ipv6_is_reached_from_everywhere_but_the_hosts_loopback(
    lab: Lab, protocol: str, kind: int
) -> None:
    one, two, other = lab.add_container("pt0", 2), lab.add_container("pt0", 3), lab.add_container("pt1", 2)
    lab.table.publish([one.port(8080, ANY6, protocol)])
    with listener(one.make6, "::", 80, kind) as server:
        assert reach(OUTSIDE6, world.ADDRESS6, 8080, server) == world.GATEWAY6, "from outside, with its own address"
        assert reach(on_host6, world.ADDRESS6, 8080, server) is not None, "from the host at its own address"
        assert reach(two.make6, world.ADDRESS6, 8080, server) is not None, "from a neighbour at the host's address"
        assert reach(two.make6, "fd77::1", 8080, server) is not None, "from a neighbour at the gateway"
        assert reach(one.make6, world.ADDRESS6, 8080, server) is not None, "from itself: hairpin"
        assert reach(other.make6, world.ADDRESS6, 8080, server) is not None, "from another network"
        assert attempt(on_host6, "::1", 8080, server) is None, "the kernel leads nothing from there"
    with listener(one.make, "0.0.0.0", 80, kind) as server:
        assert attempt(OUTSIDE, world.ADDRESS, 8080, server) is None, "on IPv4 it is not published"


def test_a_port_at_one_ipv6_address_is_published_there_alone(lab: Lab) -> None:
    one = lab.add_container("pt0", 2)
    lab.table.publish([one.port(8080, IPv6Address(world.ADDRESS6))])
    with listener(one.make6, "::", 80) as server:
        assert reach(OUTSIDE6, world.ADDRESS6, 8080, server) == world.GATEWAY6
        assert attempt(on_host6, "fd77::1", 8080, server) is None


def test_a_container_reaches_outside_over_ipv6_by_the_hosts_address(lab: Lab) -> None:
    one = lab.add_container("pt0", 2)
    with listener(OUTSIDE6, world.GATEWAY6, 7001) as server:
        assert reach(one.make6, world.GATEWAY6, 7001, server) == world.ADDRESS6


def test_ipv6_networks_do_not_reach_each_other_and_an_internal_one_nothing(lab: Lab) -> None:
    one, other, inner = lab.add_container("pt0", 2), lab.add_container("pt1", 2), lab.add_container("ptint", 2)
    with listener(other.make6, "::", 80) as server:
        assert attempt(one.make6, str(other.address6), 80, server) is None
        assert attempt(inner.make6, str(other.address6), 80, server) is None
        assert reach(on_host6, str(other.address6), 80, server) is not None
    with listener(OUTSIDE6, world.GATEWAY6, 7001) as server:
        assert attempt(inner.make6, world.GATEWAY6, 7001, server) is None


def test_66_a_neighbour_reaches_no_container_by_its_ipv6_address(lab: Lab) -> None:
    one = lab.add_container("pt0", 2)
    ip = ["ip", "-n", world.OUTSIDE.name, "-6"]
    subprocess.run([*ip, "route", "add", "fd77::/64", "via", world.ADDRESS6], check=True)
    try:
        with listener(one.make6, "::", 80) as server:
            assert attempt(OUTSIDE6, str(one.address6), 80, server) is None
            lab.add_network("ptdir", "10.77.3.0/24", "fd77:3::/64", direct=(4, 6), masqueraded=())
            assert attempt(OUTSIDE6, str(one.address6), 80, server) is None, "another network that is routed"
    finally:
        subprocess.run([*ip, "route", "del", "fd77::/64", "via", world.ADDRESS6], check=True)


def test_a_direct_network_is_reached_at_its_containers_addresses_and_published_ports_alone(lab: Lab) -> None:
    lab.add_network("ptdir", "10.77.3.0/24", "fd77:3::/64", direct=(4, 6), masqueraded=())
    one, other = lab.add_container("ptdir", 2), lab.add_container("pt0", 2)
    lab.table.publish([one.port(0), one.port(0, ANY6)])
    assert lab.table.differences() == []
    ways = (("10.77.3.0/24", world.ADDRESS), ("fd77:3::/64", world.ADDRESS6))
    for subnet, gateway in ways:
        subprocess.run(["ip", "-n", world.OUTSIDE.name, "route", "add", subnet, "via", gateway], check=True)
    try:
        with listener(one.make, "0.0.0.0", 80) as server, listener(one.make, "0.0.0.0", 81) as hidden:
            assert reach(OUTSIDE, str(one.address), 80, server) == world.GATEWAY
            assert reach(other.make, str(one.address), 80, server) == str(other.address)
            assert attempt(OUTSIDE, str(one.address), 81, hidden) is None
        with listener(one.make6, "::", 80) as server, listener(one.make6, "::", 81) as hidden:
            assert reach(OUTSIDE6, str(one.address6), 80, server) == world.GATEWAY6
            assert attempt(OUTSIDE6, str(one.address6), 81, hidden) is None
        with listener(OUTSIDE, world.GATEWAY, 7001) as server:
            assert reach(one.make, world.GATEWAY, 7001, server) == str(one.address), "it goes out as itself"
        lab.table.unpublish("e" * 64)
        with listener(one.make, "0.0.0.0", 80) as server:
            assert attempt(OUTSIDE, str(one.address), 80, server) is None
    finally:
        for subnet, gateway in ways:
            subprocess.run(["ip", "-n", world.OUTSIDE.name, "route", "del", subnet, "via", gateway], check=True)


def test_without_icc_a_container_reaches_no_neighbour_by_way_of_the_gateway_either(lab: Lab) -> None:
    lab.add_network("ptquiet", "10.77.3.0/24", "fd77:3::/64", icc=False)
    one, two = lab.add_container("ptquiet", 2), lab.add_container("ptquiet", 3)
    for container in (one, two):
        name = f"pvtest{lab.containers.index(container)}"
        lab.sock.run([links.set_port(name, hairpin=True, isolated=True)])
    for neighbour, gateway in ((two.address, "10.77.3.1"), (two.address6, "fd77:3::1")):
        subprocess.run(["nsenter", f"--net={one.path}", "ip", "route", "add", str(neighbour), "via", gateway],
                       check=True)
    with listener(two.make, "0.0.0.0", 80) as server:
        assert attempt(one.make, str(two.address), 80, server) is None
        lab.table.publish([two.port(8080)])
        assert attempt(one.make, world.ADDRESS, 8080, server) is None, "by a published port neither"
        assert reach(OUTSIDE, world.ADDRESS, 8080, server) == world.GATEWAY
    with listener(two.make6, "::", 80) as server:
        assert attempt(one.make6, str(two.address6), 80, server) is None
