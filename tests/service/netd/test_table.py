"""Packets through the real kernel: links, namespaces and the nft table, without the service."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from chassis.errors import Unimplemented
from netd import bridge, links, netns
from netd.ipam import Address, Block, with_prefix
from netd.neighbours import Neighbours
from netd.netlink import NetlinkSocket
from netd.nft import Nft, NftError
from netd.table import ANY, ANY6, Bridge, PublishedPort, Table
from netd.watch import NftWatch
from tests import world
from tests.engine import wait_until
from tests.service.netd.packets import attempt, in_namespace, in_namespace6, listener, on_host, on_host6, reach

OUTSIDE = in_namespace(world.OUTSIDE)
OUTSIDE6 = in_namespace6(world.OUTSIDE)
LOOPBACK = IPv4Address("127.0.0.1")


@dataclass
class Lab:
    """Two routed networks and an internal one, built by netd's kernel modules."""

    directory: Path
    sock: NetlinkSocket
    nft: Nft
    table: Table
    containers: list[Container] = field(default_factory=list)
    subnets: dict[str, tuple[Block, ...]] = field(default_factory=dict)

    def add_network(self, link: str, *subnets: str, **options: Any) -> None:
        """``options`` are fields of Bridge."""
        networks = tuple(map(ip_network, subnets))
        gateways = tuple(with_prefix(network[1], network) for network in networks)
        spec = bridge.BridgeSpec(link, f"test {link}", gateways)
        bridge.ensure(self.sock, spec)
        known = Bridge("n" * 64, link, networks, gateways6=spec.gateways6, **{"routed": True, **options})
        self.table.add_bridge(known)
        bridge.open_(link, known.gateways6)
        self.subnets[link] = networks

    def add_container(self, link: str, number: int) -> Container:
        subnets = self.subnets[link]
        made, inner = netns.make(self.directory)
        name = f"pvtest{len(self.containers)}"
        fd = netns.open_pin(made.path)
        with inner:
            self.sock.run([
                links.add_veth(name, "eth0", fd),
                links.set_link(name, up=True, master=links.link(self.sock, link).index),
                links.set_port(name, hairpin=True, isolated=False),
            ])
            os.close(fd)
            eth0 = links.link(inner, "eth0").index
            netns.inside(made.path, lambda: netns.enable_ipv6("eth0"))
            inner.run([
                *(links.add_address(eth0, with_prefix(subnet[number], subnet)) for subnet in subnets),
                links.set_link("eth0", up=True),
                *(links.add_default_route(eth0, subnet[1]) for subnet in subnets),
            ])
        # The kernel opens a link's queue when it gets to it: until then what is sent is dropped.
        wait_until(lambda: all(
            Path(f"/sys/class/net/{each}/operstate").read_text() == "up\n" for each in (name, link)
        ))
        container = Container(made.path, tuple(subnet[number] for subnet in subnets))
        self.containers.append(container)
        return container


@dataclass(frozen=True)
class Container:
    path: Path
    addresses: tuple[Address, ...]

    @property
    def address(self) -> Address:
        return self.addresses[0]

    @property
    def address6(self) -> Address:
        return self.addresses[-1]

    def make(self, kind: int) -> socket.socket:
        return in_namespace(self.path)(kind)

    def make6(self, kind: int) -> socket.socket:
        return in_namespace6(self.path)(kind)

    def port(self, host_port: int, host_address: Address = ANY, protocol: str = "tcp") -> PublishedPort:
        address = self.address if host_address.version == 4 else self.address6
        return PublishedPort("e" * 64, protocol, host_address, host_port, address, 80)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    sock = NetlinkSocket()
    nft = Nft()
    made = Lab(tmp_path, sock, nft, Table(nft, "pier-test"))
    for version in (4, 6):
        bridge.enable_forwarding(version)
    made.table.load([], [])
    made.add_network("pt0", "10.77.0.0/24", "fd77:0::/64")
    made.add_network("pt1", "10.77.1.0/24", "fd77:1::/64")
    made.add_network("ptint", "10.77.2.0/24", "fd77:2::/64", routed=False)
    yield made
    for container in made.containers:
        netns.unpin(container.path)
    for link in made.subnets:
        bridge.delete(sock, link, f"test {link}")
    made.table.remove()
    nft.close()
    while any(link.name.startswith("pvtest") for link in links.all_links(sock)):
        pass
    sock.close()


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


async def test_a_flush_by_somebody_else_is_noticed_and_own_changes_are_not(lab: Lab) -> None:
    noticed = asyncio.Event()
    watch = NftWatch(lab.table.name, noticed.set)
    watch.start()
    try:
        one = lab.add_container("pt0", 2)
        lab.table.publish([one.port(8080)])
        lab.table.unpublish("e" * 64)
        lab.table.restore()
        await _events_were_read()
        assert not noticed.is_set()
        _nft("flush ruleset")
        await asyncio.wait_for(noticed.wait(), 1)
        assert lab.table.differences()
        lab.table.restore()
        assert lab.table.differences() == []
    finally:
        watch.stop()


def _nft(commands: str) -> None:
    """As another program would: by a socket of another process."""
    subprocess.run(["nft", commands], check=True)


async def _events_were_read() -> None:
    """Everything that was told before this returns was read: a later change came through another watch."""
    seen = asyncio.Event()
    watch = NftWatch("pier-marker", seen.set)
    watch.start()
    try:
        _nft("add table inet pier-marker; delete table inet pier-marker")
        await asyncio.wait_for(seen.wait(), 1)
        # One more turn, so that a callback ready at the same time has run too.
        await asyncio.sleep(0)
    finally:
        watch.stop()


def test_a_change_of_one_rule_or_element_by_somebody_else_is_found(lab: Lab) -> None:
    one = lab.add_container("pt0", 2)
    lab.table.publish([one.port(8080)])
    assert lab.table.differences() == []
    stranger = Nft()
    stranger.run_text("add rule inet pier-test forward accept")
    assert "changed" in lab.table.differences()[0]
    lab.table.restore()
    stranger.run_text("delete element inet pier-test published { tcp . 8080 }")
    assert "lacks" in lab.table.differences()[0]
    lab.table.restore()
    stranger.run_text("add element inet pier-test bridges { eth0 }")
    assert "foreign element" in lab.table.differences()[0]
    lab.table.restore()
    assert lab.table.differences() == []
    stranger.close()


def test_connections_live_on_when_the_table_is_written_anew(lab: Lab) -> None:
    one = lab.add_container("pt0", 2)
    lab.table.publish([one.port(8080)])
    with listener(one.make, "0.0.0.0", 80) as server, OUTSIDE(socket.SOCK_STREAM) as client:
        client.settimeout(5)
        client.connect((world.ADDRESS, 8080))
        served, _ = server.accept()
        with served:
            served.settimeout(5)
            lab.table.restore()
            client.sendall(b"still")
            assert served.recv(5) == b"still"
            served.sendall(b"there")
            assert client.recv(5) == b"there"


def test_a_taken_key_is_refused_and_nothing_of_the_batch_is_made(lab: Lab) -> None:
    one, two = lab.add_container("pt0", 2), lab.add_container("pt0", 3)
    lab.table.publish([one.port(8080)])
    with pytest.raises(NftError):
        lab.table.publish([
            PublishedPort("f" * 64, "tcp", ANY, 8079, two.address, 80),
            PublishedPort("f" * 64, "tcp", ANY, 8080, two.address, 80),
        ])
    assert lab.table.differences() == []


DOCKERS_CHAINS = """
    add table ip filter
    add chain ip filter DOCKER-USER
    add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }
    add rule ip filter FORWARD jump DOCKER-USER
"""


@pytest.fixture
def dockers_chains(lab: Lab) -> Iterator[None]:
    """A forward chain that drops by policy and asks DOCKER-USER first, as dockerd makes it."""
    lab.nft.run_text(DOCKERS_CHAINS)
    yield
    lab.nft.run_text("delete table ip filter")


def test_another_programs_forward_chain_that_drops_is_named(lab: Lab) -> None:
    neighbours = Neighbours(lab.nft, lab.table.name)
    assert neighbours.drops() == []
    lab.nft.run_text("add table ip filter; add chain ip filter FORWARD "
                     "{ type filter hook forward priority 0; policy drop; }")
    assert [(d.family, d.table, d.chain) for d in neighbours.drops()] == [("ip", "filter", "FORWARD")]
    lab.nft.run_text("delete table ip filter")


def test_a_way_is_made_through_dockers_forward_chain_and_taken_away(lab: Lab, dockers_chains: None) -> None:
    neighbours = Neighbours(lab.nft, lab.table.name)
    one, other = lab.add_container("pt0", 2), lab.add_container("pt1", 2)
    with listener(OUTSIDE, world.FAR, 7001) as server:
        assert attempt(one.make, world.FAR, 7001, server) is None
        assert neighbours.settle(["pt0", "pt1"])
        assert reach(one.make, world.FAR, 7001, server) == world.ADDRESS
        assert not neighbours.settle(["pt0", "pt1"]), "the same again changes nothing"
        assert neighbours.drops() == []
        with listener(other.make, "0.0.0.0", 80) as isolated:
            assert attempt(one.make, str(other.address), 80, isolated) is None, "our own drop stays"
        assert neighbours.settle([])
        assert attempt(one.make, world.FAR, 7001, server) is None
    assert not [item for item in lab.nft.list("chain ip filter DOCKER-USER") if "rule" in item]


def test_a_chain_that_nothing_leads_to_is_left_empty(lab: Lab, dockers_chains: None) -> None:
    neighbours = Neighbours(lab.nft, lab.table.name)
    assert neighbours.settle(["pt0"])
    lab.nft.run_text("flush chain ip filter FORWARD")
    assert neighbours.settle(["pt0"])
    lab.nft.run_text("delete chain ip filter DOCKER-USER")
    assert not neighbours.settle(["pt0"])


def test_dockers_bridges_are_what_its_own_chains_send_out_by(lab: Lab, dockers_chains: None) -> None:
    neighbours = Neighbours(lab.nft, lab.table.name)
    lab.nft.run_text("""
        add chain ip filter DOCKER-ISOLATION-STAGE-2
        add rule ip filter DOCKER-ISOLATION-STAGE-2 oifname "br-0a1b2c3d4e5f" counter drop
        add rule ip filter DOCKER-ISOLATION-STAGE-2 oifname docker0 counter drop
        add rule ip filter DOCKER-USER oifname "eth0" drop
        add rule ip filter FORWARD oifname "eth0" accept
        add rule ip filter DOCKER-ISOLATION-STAGE-2 iifname "eth0" oifname != "docker0" oifname "veth*" drop
    """)
    assert neighbours.bridges() == {"docker0", "br-0a1b2c3d4e5f"}


def test_bridges_kept_apart_are_written_anew_with_the_table(lab: Lab) -> None:
    assert lab.table.keep_apart(["docker0", "br-1"])
    assert lab.table.keep_apart(["docker0", "0-br"])
    assert not lab.table.keep_apart(["0-br", "docker0"]), "the same again changes nothing"
    assert lab.table.differences() == []
    lab.nft.run_text(f"flush set inet {lab.table.name} apart")
    assert [line for line in lab.table.differences() if "apart" in line]
    lab.table.restore()
    assert lab.table.differences() == []


def test_an_operators_drop_in_dockers_chain_wins_and_its_closing_return_does_not(
    lab: Lab, dockers_chains: None
) -> None:
    neighbours = Neighbours(lab.nft, lab.table.name)
    one = lab.add_container("pt0", 2)
    lab.nft.run_text("add rule ip filter DOCKER-USER tcp dport 7002 drop; "
                     "add rule ip filter DOCKER-USER counter return")
    neighbours.settle(["pt0"])
    with listener(OUTSIDE, world.FAR, 7001) as allowed, listener(OUTSIDE, world.FAR, 7002) as forbidden:
        assert reach(one.make, world.FAR, 7001, allowed) == world.ADDRESS
        assert attempt(one.make, world.FAR, 7002, forbidden) is None


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
        tap.settimeout(5)
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
