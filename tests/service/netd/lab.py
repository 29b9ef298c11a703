"""Networks and containers built by netd's kernel modules, without the service."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

from netd import bridge, links, netns
from netd.ipam import Address, Block, with_prefix
from netd.netlink import NetlinkSocket
from netd.nft import Nft
from netd.table import ANY, Bridge, PublishedPort, Table
from tests import world
from tests.engine import wait_until
from tests.service.netd.packets import in_namespace, in_namespace6

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
