"""What clients send, checked where it enters: after these functions every word is safe in a file, a link and a rule.

What is not built is refused here by name, never accepted and ignored.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from chassis import ids
from chassis.errors import InvalidArgument, Unimplemented
from netd import drivers, endpoint_options, ipam, links
from netd.bindings import WantedPort
from netd.ipam import Plan, parse_address, parse_subnet
from netd.ports import PROTOCOLS, check_protocol
from pier.network.v1 import network_pb2

PREDEFINED: Final = ("bridge", "host", "none")
HOST_GATEWAY: Final = "host-gateway"
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
"""What containers are called; a name that DNS cannot carry is simply never asked for."""
_NETWORK_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_NAME_WORDS: Final = "letters, digits, '.', '_', '-', 255 at most"
_WORD: Final = re.compile(r"[!-~]{1,255}")
_INTERFACE: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,14}")
_MAC: Final = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_PORT_MAX: Final = 65535
_PORTS_MAX: Final = 4096
_NAMES_MAX: Final = 256
_POOLS_MAX: Final = 16
_AUXILIARY_MAX: Final = 256


@dataclass(frozen=True)
class WantedSubnets:
    """The subnets that a network is to have: those asked for, and the IP versions in which netd chooses one."""

    plans: tuple[Plan, ...] = ()
    choose: tuple[int, ...] = ()


def network_name(value: str, field: str) -> str:
    """Also its id is one."""
    return _match(_NETWORK_NAME, value, field, "[a-zA-Z0-9][a-zA-Z0-9_.-]*, 255 characters at most")


def sandbox(request: network_pb2.CreateSandboxRequest) -> None:
    """Check a sandbox to be made."""
    ids.sandbox_id(request.id, "id")
    ids.owner(request.owner)
    for field in ("hostname", "domainname"):
        if value := getattr(request, field):
            host_name(value, field)
    for entry in request.extra_hosts:
        extra_host(entry)
    for address in request.dns:
        any_address(address, "dns")
    for name in request.dns_search:
        if name != ".":
            host_name(name, "dns_search")
    names(request.names)
    for word in request.dns_options:
        _match(_WORD, word, "dns_options", "a word without white space")


def names(values: Sequence[str]) -> Sequence[str]:
    """Check the names of a sandbox."""
    if len(values) > _NAMES_MAX:
        raise InvalidArgument(f"{len(values)} names are too many", field="names", expected=f"{_NAMES_MAX} at most")
    for value in values:
        _match(_NAME, value, "names", _NAME_WORDS)
    return values


def extra_host(entry: str) -> tuple[str, str]:
    """("name", "address") of a "name:address"; the address may be "host-gateway"."""
    name, _, address = entry.partition(":")
    host_name(name, "extra_hosts")
    if address != HOST_GATEWAY:
        any_address(address, "extra_hosts")
    return name, address


def network(request: network_pb2.CreateNetworkRequest) -> WantedSubnets:
    """Check a network to be made; the subnets that it asks for."""
    ids.network_id(request.id)
    network_name(request.name, "name")
    ids.owner(request.owner)
    if request.name in PREDEFINED:
        raise InvalidArgument(f"network name {request.name} is predefined", field="name", expected="another name")
    return subnets(request.spec, drivers.of(request.spec.driver).validate(request.spec))


def subnets(spec: network_pb2.NetworkSpec, without_gateway: Sequence[int] = ()) -> WantedSubnets:
    """The subnets that a specification asks for. Those of the IP versions in ``without_gateway`` have none."""
    wanted = _versions(spec)
    if len(spec.pools) > _POOLS_MAX:
        raise InvalidArgument(f"{len(spec.pools)} subnets are too many", field="spec.pools",
                              expected=f"{_POOLS_MAX} at most")
    plans: list[Plan] = []
    for pool in spec.pools:
        plan = _plan(pool, without_gateway)
        if plan.subnet.version not in wanted:
            raise InvalidArgument(f"subnet {plan.subnet}: the network has no IPv{plan.subnet.version}",
                                  field="spec.pools.subnet", expected=f"an IPv{wanted[0]} subnet")
        for other in plans:
            if ipam.overlap(other.subnet, plan.subnet):
                raise InvalidArgument(f"subnets {other.subnet} and {plan.subnet} of one network overlap",
                                      field="spec.pools.subnet", expected="subnets apart from each other")
        plans.append(plan)
    given = {plan.subnet.version for plan in plans}
    return WantedSubnets(tuple(plans), tuple(version for version in wanted if version not in given))


def _versions(spec: network_pb2.NetworkSpec) -> list[int]:
    ipv4 = not spec.HasField("enable_ipv4") or spec.enable_ipv4
    found = [version for version, on in ((4, ipv4), (6, spec.enable_ipv6)) if on]
    if not found:
        raise InvalidArgument("IPv4 or IPv6 must be enabled", field="spec.enable_ipv4", expected="one of them")
    return found


def _plan(pool: network_pb2.Pool, without_gateway: Sequence[int]) -> Plan:
    subnet = parse_subnet(pool.subnet, "spec.pools.subnet")
    if len(pool.auxiliary) > _AUXILIARY_MAX:
        raise InvalidArgument(f"{len(pool.auxiliary)} auxiliary addresses are too many", field="spec.pools.auxiliary",
                              expected=f"{_AUXILIARY_MAX} at most")
    gateway = parse_address(pool.gateway, "spec.pools.gateway") if pool.gateway else None
    wanted = subnet.version not in without_gateway
    if gateway is not None and not wanted:
        raise InvalidArgument(f"gateway {gateway}: in gateway mode 'isolated' the host has no address on the network",
                              field="spec.pools.gateway", expected='""')
    return ipam.plan(
        subnet, gateway, parse_subnet(pool.range, "spec.pools.range") if pool.range else None,
        {name: parse_address(text, "spec.pools.auxiliary") for name, text in pool.auxiliary.items()},
        gateway_wanted=wanted,
    )


def endpoint(spec: network_pb2.EndpointSpec) -> tuple[IPv4Address | None, IPv6Address | None]:
    """Check an endpoint's spec; the addresses that it asks for."""
    if len(spec.aliases) > _NAMES_MAX or len(spec.links) > _NAMES_MAX:
        raise InvalidArgument("too many aliases or links", field="spec.aliases", expected=f"{_NAMES_MAX} at most")
    for alias in spec.aliases:
        _match(_NAME, alias, "spec.aliases", _NAME_WORDS)
    for link in spec.links:
        for part in link.partition(":")[::2]:
            _match(_NAME, part, "spec.links", _NAME_WORDS)
    if spec.mac:
        mac = _match(_MAC, spec.mac, "spec.mac", "six hexadecimal bytes, lower case, with ':' between")
        if int(mac[:2], 16) & 1:
            raise InvalidArgument(f"{mac} is a multicast address", field="spec.mac", expected="a unicast address")
    if interface := endpoint_options.read(spec).interface:
        _match(_INTERFACE, interface, "spec.interface", f"at most {links.NAME_MAX} letters, digits, '.', '_', '-'")
        if interface in ("lo", "all", "default", ".", ".."):
            raise InvalidArgument(f"{interface} is taken", field="spec.interface", expected="another name")
    first = parse_address(spec.ipv4, "spec.ipv4") if spec.ipv4 else None
    second = parse_address(spec.ipv6, "spec.ipv6") if spec.ipv6 else None
    if isinstance(first, IPv6Address) or isinstance(second, IPv4Address):
        raise InvalidArgument(f"{spec.ipv4 or spec.ipv6} is of the other IP version",
                              field="spec.ipv4" if first else "spec.ipv6", expected="an address of that IP version")
    return first, second


def ports(values: Iterable[network_pb2.PublishedPort]) -> list[WantedPort]:
    """Check ports to publish."""
    wanted = [_port(value) for value in values]
    if len(wanted) > _PORTS_MAX:
        raise InvalidArgument(f"{len(wanted)} ports are too many", field="ports", expected=f"{_PORTS_MAX} at most")
    return wanted


def _port(value: network_pb2.PublishedPort) -> WantedPort:
    if value.protocol not in PROTOCOLS:
        raise InvalidArgument(f"protocol {ascii(value.protocol)[:20]}", field="ports.protocol",
                              expected=" or ".join(PROTOCOLS))
    check_protocol(value.protocol)
    if not 1 <= value.container_port <= _PORT_MAX:
        raise InvalidArgument(f"container port {value.container_port} is out of range", field="ports.container_port",
                              expected=f"1 to {_PORT_MAX}")
    last = value.host_port_end or value.host_port
    if not value.host_port <= last <= _PORT_MAX or (value.host_port_end and not value.host_port):
        raise InvalidArgument(f"host ports {value.host_port} to {value.host_port_end} are no range",
                              field="ports.host_port", expected=f"0 to {_PORT_MAX}")
    address = parse_address(value.host_ip, "ports.host_ip") if value.host_ip else None
    if isinstance(address, IPv6Address):
        _check_host_address(address)
    return WantedPort(value.protocol, value.container_port, address, range(value.host_port, last + 1))


def _check_host_address(address: IPv6Address) -> None:
    if address.is_loopback:
        # The kernel takes no packet from or to ::1 off the loopback link, and has no switch as IPv4's route_localnet.
        raise Unimplemented("ports cannot be published at ::1: the kernel leads nothing from there to a container, and "
                            "no program stands in between", field="ports.host_ip", expected="127.0.0.1, or ::")
    if address.ipv4_mapped or address.is_link_local or address.scope_id:
        raise InvalidArgument(f"ports cannot be published at {address}", field="ports.host_ip",
                              expected="a global or unique local address of this host, or ::")


def host_name(value: str, field: str) -> str:
    return _match(_HOST_NAME, value, field, "letters, digits, '.', '_', '-', 253 at most")


def any_address(value: str, field: str) -> str:
    """An IPv4 or IPv6 address, an IPv6 zone allowed."""
    address, _, zone = value.partition("%")
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        raise InvalidArgument(f"{field}: {ascii(value)[:60]} is not an IP address", field=field,
                              expected="an IP address") from error
    if zone or "%" in value:
        _match(_INTERFACE, zone, field, "an interface's name as zone")
    return value


def _match(pattern: re.Pattern[str], value: str, field: str, expected: str) -> str:
    if not pattern.fullmatch(value):
        raise InvalidArgument(f"{field}: {ascii(value)[:80]} is not {expected}", field=field, expected=expected)
    return value
