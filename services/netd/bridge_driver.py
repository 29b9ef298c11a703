"""The bridge driver: a bridge of the network's own, and a veth pair for each endpoint (see bridge.py and wiring.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from netd import bridge, links, options, wiring
from netd.netlink import NetlinkSocket
from netd.records import Network
from netd.wiring import Wire
from pier.network.v1 import network_pb2


class BridgeDriver:
    """As drivers.Driver."""

    name = "bridge"
    publishes = True
    owns_subnets = True

    def validate(self, spec: network_pb2.NetworkSpec) -> Sequence[int]:
        return options.read(spec).versions(options.ISOLATED)

    def link_of(self, spec: network_pb2.NetworkSpec, chosen: str) -> str:
        return options.read(spec).name or chosen

    def prefix(self, spec: network_pb2.NetworkSpec) -> str:
        return options.read(spec).prefix

    def has_parents_mac(self, spec: network_pb2.NetworkSpec) -> bool:
        return False

    def is_closed(self, spec: network_pb2.NetworkSpec) -> bool:
        return False

    def probe(self, host: NetlinkSocket) -> None:
        """Every kernel that netd runs on has bridges."""

    def setup(self, host: NetlinkSocket, network: Network, alias: str) -> None:
        bridge.ensure(host, spec_of(network, alias))

    def teardown(self, host: NetlinkSocket, network: Network, alias: str) -> None:
        bridge.delete(host, network.link, alias)

    def is_set_up(
        self, network: Network, alias: str, present: Mapping[str, links.Link], addresses: Sequence[links.Address]
    ) -> bool:
        there = present.get(network.link)
        if there is None or not there.up or there.alias != alias:
            return False
        own = {each.address for each in addresses if each.link == there.index}
        return own.issuperset(spec_of(network, alias).gateways)

    def wire(self, wire: Wire, network: Network) -> Wire:
        read = options.read(network.spec)
        return replace(wire, network_link=network.link, isolated=not read.icc, mtu=read.mtu)

    def attach(self, host: NetlinkSocket, pin: Path, wire: Wire) -> None:
        wiring.wire(host, pin, wire)

    def mend(self, host: NetlinkSocket, pin: Path, wire: Wire) -> None:
        wiring.mend(host, pin, wire)

    def detach(self, host: NetlinkSocket, pin: Path, wire: Wire) -> None:
        wiring.unwire(host, wire.link, wire.alias)

    def cut(self, host: NetlinkSocket, pin: Path, wires: Sequence[Wire]) -> None:
        wiring.cut(host, [wire.link for wire in wires])

    def is_attached(self, pin: Path, wire: Wire, present: Mapping[str, links.Link]) -> bool:
        return wiring.is_wired(wire, present)


def spec_of(network: Network, alias: str) -> bridge.BridgeSpec:
    """The network's bridge as it should be."""
    gateways = tuple(plan.interface for plan in network.subnets if plan.interface is not None)
    return bridge.BridgeSpec(network.link, alias, gateways, options.read(network.spec).mtu)
