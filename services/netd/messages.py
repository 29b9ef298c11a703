"""Records as the contract's messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from chassis.events import timestamp
from chassis.ids import NetworkId
from netd.ipam import Usage
from netd.records import Endpoint, Network, Sandbox
from pier.network.v1 import network_pb2

_MOST: Final = (1 << 64) - 1


def network(value: Network, endpoint_count: int) -> network_pb2.Network:
    spec = network_pb2.NetworkSpec()
    spec.CopyFrom(value.spec)
    asked = {ip_network(pool.subnet) for pool in spec.pools if pool.subnet}
    del spec.pools[:]
    for plan in value.subnets:
        spec.pools.add(
            subnet=str(plan.subnet), range=str(plan.range or ""), gateway=str(plan.gateway or ""),
            auxiliary={name: str(address) for name, address in plan.auxiliary.items()},
            chosen=plan.subnet not in asked,
        )
    return network_pb2.Network(
        id=value.id, name=value.name, owner=value.owner, created_at=timestamp(value.created_ns), spec=spec,
        link=value.link, predefined=value.predefined, endpoint_count=endpoint_count,
    )


def usage(value: Usage) -> network_pb2.SubnetUsage:
    return network_pb2.SubnetUsage(
        subnet=str(value.subnet), in_use=min(value.in_use, _MOST), available=min(value.available, _MOST))


def endpoint(value: Endpoint, network_: Network) -> network_pb2.Endpoint:
    gateway4, gateway6 = (
        None if network_.internal else network_.gateway(address) for address in (value.address, value.address6)
    )
    return network_pb2.Endpoint(
        id=value.id, sandbox_id=value.sandbox_id, network_id=value.network_id, network_name=network_.name,
        interface=value.interface, ipv4=str(value.address or ""), ipv6=str(value.address6 or ""),
        gateway_ipv4=str(gateway4 or ""), gateway_ipv6=str(gateway6 or ""), mac=value.mac,
        ports=value.ports, aliases=value.request.spec.aliases, spec=value.request.spec,
    )


def sandbox(
    value: Sandbox, endpoints: Iterable[Endpoint], networks: Mapping[NetworkId, Network], pins: Path
) -> network_pb2.Sandbox:
    return network_pb2.Sandbox(
        id=value.id, owner=value.owner, created_at=timestamp(value.created_ns),
        netns_path=b"" if value.host else bytes(pins / value.pin), boot_id=value.boot_id, host=value.host,
        endpoints=[endpoint(item, networks[item.network_id]) for item in endpoints],
    )
