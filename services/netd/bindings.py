"""Which host ports a published port takes, and where they lead.

A port that is asked for at no address in particular is published at all of them: at 0.0.0.0 for an endpoint with an
IPv4 address, at :: for one with an IPv6 address, under one number. On a network whose gateway mode is ``routed`` in an
IP version nothing of the host's is taken: the port is reached at the endpoint's own address, and has host port 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import Final

from chassis.errors import InvalidArgument
from netd.ipam import Address
from netd.ports import Group, HostPort
from netd.records import Endpoint
from netd.table import ANY, ANY6, PublishedPort
from pier.network.v1 import network_pb2

_TOLD: Final = 100


@dataclass(frozen=True)
class WantedPort:
    """A port to publish: the first free host port of ``host_ports``, where 0 is any. ``host_address`` None: all."""

    protocol: str
    container_port: int
    host_address: Address | None
    host_ports: range


@dataclass(frozen=True)
class Place:
    """Where an endpoint can be published: the IP versions of its addresses, those in which it is reached at its own,
    and the IPv4 address that stands for "no address in particular"."""

    versions: tuple[int, ...]
    direct: tuple[int, ...] = ()
    default: IPv4Address = ANY


def hosts(want: WantedPort, place: Place) -> tuple[Address, ...]:
    """The host's addresses at which it is to be published. InvalidArgument where the endpoint has none of their IP
    version: no program stands in between that could translate."""
    given = want.host_address
    if given is not None:
        if given.version not in place.versions:
            raise InvalidArgument(
                f"port {want.container_port}/{want.protocol} cannot be published at {given}: the container has no "
                f"IPv{given.version} address there", field="ports.host_ip",
                expected="an address of a version that the network has",
            )
        return (given,)
    everywhere = place.default.is_unspecified
    found: list[Address] = [place.default] if 4 in place.versions else []
    if 6 in place.versions and (everywhere or not found):
        found.append(ANY6)
    return tuple(found)


def groups(want: WantedPort, place: Place) -> list[Group]:
    """What is to be held of the host, one way after the other of which the first free one is taken."""
    held = [host for host in hosts(want, place) if host.version not in place.direct]
    if not held:
        return [()]
    return [tuple(HostPort(want.protocol, host, number) for host in held) for number in want.host_ports]


def answered(want: WantedPort, place: Place, number: int) -> list[network_pb2.PublishedPort]:
    """The wanted port as it is published under that number, at each of its addresses."""
    return [
        network_pb2.PublishedPort(
            protocol=want.protocol, container_port=want.container_port, host_ip=str(host),
            host_port=0 if host.version in place.direct else number,
        )
        for host in hosts(want, place)
    ]


def all_answered(
    wanted: Iterable[WantedPort], place: Place, held: Iterable[Group]
) -> list[network_pb2.PublishedPort]:
    """What was asked for, with the host ports that are held for it."""
    return [
        port for want, group in zip(wanted, held, strict=True)
        for port in answered(want, place, group[0].port if group else 0)
    ]


def matching(
    want: WantedPort, place: Place, present: Sequence[network_pb2.PublishedPort]
) -> list[network_pb2.PublishedPort]:
    """Those of what is published already that are the wanted port, [] where it is not."""
    for number in dict.fromkeys(port.host_port for port in present):
        if number in want.host_ports or 0 in want.host_ports or not number:
            ports = answered(want, place, number)
            if all(port in present for port in ports):
                return ports
    return []


def published(endpoint: Endpoint) -> list[PublishedPort]:
    """The endpoint's ports as the nft table knows them."""
    made = []
    for port in endpoint.ports:
        host = ip_address(port.host_ip)
        address = endpoint.address if host.version == 4 else endpoint.address6
        if address is not None:
            made.append(PublishedPort(endpoint.id, port.protocol, host, port.host_port, address.ip,
                                      port.container_port))
    return made


def host_ports(ports: Iterable[network_pb2.PublishedPort]) -> list[HostPort]:
    """What of the host the ports take."""
    return [HostPort(port.protocol, ip_address(port.host_ip), port.host_port) for port in ports if port.host_port]


def told(ports: Iterable[PublishedPort]) -> str:
    """The container's ports as a fact of a stage: "80/tcp 53/udp", the first hundred of them."""
    names = dict.fromkeys(f"{port.port}/{port.protocol}" for port in ports)
    return " ".join(list(names)[:_TOLD])
