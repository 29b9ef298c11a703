"""Bridges: whose they are, sealed and opened, and what they believe of routers."""

from __future__ import annotations

import socket
import struct
import subprocess
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path

import pytest

from chassis.errors import Unimplemented
from netd import bridge, links, netns
from netd.netlink import NetlinkSocket
from tests import world
from tests.engine import wait_until
from tests.service.netd.lab import OUTSIDE6, Lab
from tests.service.netd.packets import PATIENCE_SECONDS, attempt, listener, on_host, reach


def test_isolated_ports_of_a_bridge_reach_the_gateway_and_not_each_other(lab: Lab) -> None:
    one, two = lab.add_container("pt0", 2), lab.add_container("pt0", 3)
    for name in ("pvtest0", "pvtest1"):
        lab.sock.run([links.set_port(name, hairpin=False, isolated=True)])
    with listener(two.make, "0.0.0.0", 80) as server:
        assert attempt(one.make, str(two.address), 80, server) is None
        assert reach(on_host, str(two.address), 80, server) is not None


def test_a_sealed_bridge_forwards_nothing_even_without_the_table(lab: Lab) -> None:
    one = lab.add_container("pt0", 2)
    bridge.seal("pt0")
    lab.nft.run_text("flush ruleset")
    other = lab.add_container("pt1", 2)
    with listener(other.make, "0.0.0.0", 80) as server:
        assert attempt(one.make, str(other.address), 80, server) is None
        bridge.open_("pt0")
        assert reach(one.make, str(other.address), 80, server) is not None, "the test's own proof"


def test_a_link_of_a_stranger_with_the_bridges_name_is_refused(lab: Lab) -> None:
    spec = bridge.BridgeSpec("pt0", "somebody else", (IPv4Interface("10.77.0.1/24"),))
    with pytest.raises(Exception, match="not this engine's"):
        bridge.ensure(lab.sock, spec)


def test_a_bridge_of_this_instance_whose_state_was_lost_is_replaced(lab: Lab) -> None:
    gateway = (IPv4Interface("10.77.0.1/24"),)
    first = bridge.ensure(lab.sock, bridge.BridgeSpec("pt9", "pier network " + "1" * 64 + " netd/pier/bridge", gateway))
    again = bridge.BridgeSpec("pt9", "pier network " + "2" * 64 + " netd/pier/bridge", gateway)
    second = bridge.ensure(lab.sock, again)
    assert second.index != first.index
    assert bridge.ensure(lab.sock, again).index == second.index, "one that is ours stays"
    other = bridge.BridgeSpec("pt9", "blue network " + "2" * 64 + " netd/blue/bridge", gateway)
    with pytest.raises(Exception, match="not this engine's"):
        bridge.ensure(lab.sock, other)
    bridge.delete(lab.sock, "pt9", again.alias)


def test_a_sealed_bridge_has_no_ipv6_and_an_opened_one_has_it_back(lab: Lab) -> None:
    one = lab.add_container("pt0", 2)
    gateways = (IPv6Interface("fd77::1/64"),)
    with listener(OUTSIDE6, world.GATEWAY6, 7001) as server:
        bridge.seal("pt0")
        assert not bridge.is_open("pt0", gateways)
        assert attempt(one.make6, world.GATEWAY6, 7001, server) is None
        bridge.open_("pt0", gateways)
        assert bridge.is_open("pt0", gateways)
        assert reach(one.make6, world.GATEWAY6, 7001, server) == world.ADDRESS6


def test_64_neither_host_nor_neighbours_believe_a_containers_router_advertisement(lab: Lab) -> None:
    one, two = lab.add_container("pt0", 2), lab.add_container("pt0", 3)

    def routes_of(path: Path | None) -> list[links.Route]:
        with netns.enter(path) if path else NetlinkSocket() as sock:
            return [route for route in links.routes(sock) if route.destination.version == 6]

    before = routes_of(None), routes_of(two.path)
    # ICMPv6 type 134: a router for half an hour, and a prefix to make addresses of (RFC 4861 section 4.2).
    prefix = struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 1800, 1800, 0, IPv6Address("2001:db8:bad::").packed)
    advertisement = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + prefix

    def send() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
            raw.sendto(advertisement, ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))

    # It comes from a link-local address, which is there once the kernel has made it.
    wait_until(lambda: "fe80" in subprocess.run(
        ["nsenter", f"--net={one.path}", "ip", "-6", "-o", "address", "show", "dev", "eth0", "-tentative"],
        check=True, capture_output=True, text=True).stdout)
    with netns.inside(two.path, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))) as tap:
        tap.settimeout(PATIENCE_SECONDS)
        netns.inside(one.path, send)
        while advertisement[8:] not in tap.recv(2048):
            pass  # the neighbour's solicitations
    assert (routes_of(None), routes_of(two.path)) == before
    assert Path("/proc/sys/net/ipv6/conf/pt0/accept_ra").read_text() == "0\n"


def test_on_a_host_without_ipv6_forwarding_it_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bridge, "_SYSCTL", tmp_path)
    with pytest.raises(Unimplemented, match="no IPv6"):
        bridge.enable_forwarding(6)
