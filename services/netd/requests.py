"""What clients send, checked where it enters: after these functions every word is safe in a file, a link and a rule.

What is not built is refused here by name, never accepted and ignored.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from chassis import ids
from chassis.errors import InvalidArgument, Unimplemented
from netd import bridge, links
from netd.ipam import parse_address, parse_subnet
from netd.ports import PROTOCOLS
from netd.table import ANY
from pier.network.v1 import network_pb2
from pier.types.v1 import types_pb2

PREDEFINED: Final = ("bridge", "host", "none")
OPTION_MTU: Final = "com.docker.network.driver.mtu"
OPTION_ICC: Final = "com.docker.network.bridge.enable_icc"
HOST_GATEWAY: Final = "host-gateway"
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
"""What containers are called; a name that DNS cannot carry is simply never asked for."""
_NAME_WORDS: Final = "letters, digits, '.', '_', '-', 255 at most"
_WORD: Final = re.compile(r"[!-~]{1,255}")
_INTERFACE: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,14}")
_MAC: Final = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_MANAGER: Final = re.compile(r"[A-Za-z0-9._-]{1,63}")
_PORT_MAX: Final = 65535
_PORTS_MAX: Final = 4096
_MTU_MIN: Final = 576
_NAMES_MAX: Final = 256


@dataclass(frozen=True)
class BridgeOptions:
    """The driver's options, read. ``icc``: may the network's containers talk to each other?"""

    mtu: int
    icc: bool


@dataclass(frozen=True)
class WantedPort:
    """A port to publish: the first free host port of ``host_ports``, where 0 is any."""

    protocol: str
    container_port: int
    host_address: IPv4Address
    host_ports: range


def owner(value: types_pb2.Owner, field: str = "owner") -> types_pb2.Owner:
    """InvalidArgument for an owner whose parts break their grammar (types.Owner)."""
    _match(_MANAGER, value.manager, f"{field}.manager", "a word of letters, digits, '.', '_', '-'")
    ids.namespace(value.namespace, f"{field}.namespace")
    ids.key(value.id, f"{field}.id")
    return value


def sandbox(request: network_pb2.CreateSandboxRequest) -> None:
    """Check a sandbox to be made."""
    ids.sandbox_id(request.id, "id")
    owner(request.owner)
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


def network(request: network_pb2.CreateNetworkRequest) -> tuple[IPv4Network, IPv4Address | None] | None:
    """Check a network to be made; the subnet and gateway that it asks for, None where netd may choose."""
    ids.network_id(request.id)
    ids.name(request.name)
    owner(request.owner)
    if request.name in PREDEFINED:
        raise InvalidArgument(f"network name {request.name} is predefined", field="name", expected="another name")
    spec = request.spec
    if spec.driver not in ("", "bridge"):
        raise Unimplemented(f"network driver {ascii(spec.driver)[:60]} is not built", reason="NO_DRIVER",
                            field="spec.driver", expected="bridge")
    if spec.enable_ipv6 or (spec.HasField("enable_ipv4") and not spec.enable_ipv4):
        raise Unimplemented("networks have IPv4 and no IPv6 yet", field="spec.enable_ipv6", expected="false")
    bridge_options(spec)
    return _pool(spec.pools)


def _pool(pools: Sequence[network_pb2.Pool]) -> tuple[IPv4Network, IPv4Address | None] | None:
    if not pools:
        return None
    if len(pools) > 1:
        raise Unimplemented("a network has one subnet", field="spec.pools", expected="one pool")
    pool = pools[0]
    if pool.range or pool.auxiliary:
        raise Unimplemented("a pool's range and auxiliary addresses are not built", field="spec.pools",
                            expected="subnet and gateway alone")
    subnet = parse_subnet(pool.subnet, "spec.pools.subnet")
    return subnet, parse_address(pool.gateway, "spec.pools.gateway") if pool.gateway else None


def bridge_options(spec: network_pb2.NetworkSpec) -> BridgeOptions:
    """The options read; an unknown one is refused by name."""
    mtu, icc = bridge.MTU, True
    for key, value in spec.options.items():
        if key == OPTION_MTU:
            if not value.isdecimal() or not _MTU_MIN <= int(value[:6]) <= _PORT_MAX:
                raise InvalidArgument(f"MTU {ascii(value)[:20]} is out of range", field=f"spec.options.{key}",
                                      expected=f"{_MTU_MIN} to {_PORT_MAX}")
            mtu = int(value)
        elif key == OPTION_ICC:
            if value.lower() not in ("true", "false"):
                raise InvalidArgument(f"{key}: {ascii(value)[:20]}", field=f"spec.options.{key}",
                                      expected="true or false")
            icc = value.lower() == "true"
        else:
            raise Unimplemented(f"network option {ascii(key)[:80]} is not built", field="spec.options",
                                expected=f"{OPTION_MTU}, {OPTION_ICC}")
    return BridgeOptions(mtu, icc)


def endpoint(spec: network_pb2.EndpointSpec) -> IPv4Address | None:
    """Check an endpoint's spec; the address that it asks for."""
    if spec.ipv6:
        raise Unimplemented("networks have no IPv6 yet", field="spec.ipv6", expected='""')
    if len(spec.aliases) > _NAMES_MAX or len(spec.links) > _NAMES_MAX:
        raise InvalidArgument("too many aliases or links", field="spec.aliases", expected=f"{_NAMES_MAX} at most")
    for alias in spec.aliases:
        _match(_NAME, alias, "spec.aliases", _NAME_WORDS)
    for link in spec.links:
        for part in link.partition(":")[::2]:
            _match(_NAME, part, "spec.links", _NAME_WORDS)
    if spec.driver_options:
        raise Unimplemented(f"endpoint option {ascii(min(spec.driver_options))[:80]} is not built",
                            field="spec.driver_options", expected="none")
    if spec.mac:
        mac = _match(_MAC, spec.mac, "spec.mac", "six hexadecimal bytes, lower case, with ':' between")
        if int(mac[:2], 16) & 1:
            raise InvalidArgument(f"{mac} is a multicast address", field="spec.mac", expected="a unicast address")
    if spec.interface:
        _match(_INTERFACE, spec.interface, "spec.interface", f"at most {links.NAME_MAX} letters, digits, '.', '_', '-'")
        if spec.interface in ("lo", ".", ".."):
            raise InvalidArgument(f"{spec.interface} is taken", field="spec.interface", expected="another name")
    return parse_address(spec.ipv4, "spec.ipv4") if spec.ipv4 else None


def ports(values: Iterable[network_pb2.PublishedPort]) -> list[WantedPort]:
    """Check ports to publish."""
    wanted = [_port(value) for value in values]
    if len(wanted) > _PORTS_MAX:
        raise InvalidArgument(f"{len(wanted)} ports are too many", field="ports", expected=f"{_PORTS_MAX} at most")
    return wanted


def _port(value: network_pb2.PublishedPort) -> WantedPort:
    if value.protocol == "sctp":
        raise Unimplemented("sctp ports are not built", field="ports.protocol", expected="tcp or udp")
    if value.protocol not in PROTOCOLS:
        raise InvalidArgument(f"protocol {ascii(value.protocol)[:20]}", field="ports.protocol", expected="tcp or udp")
    if not 1 <= value.container_port <= _PORT_MAX:
        raise InvalidArgument(f"container port {value.container_port} is out of range", field="ports.container_port",
                              expected=f"1 to {_PORT_MAX}")
    last = value.host_port_end or value.host_port
    if not value.host_port <= last <= _PORT_MAX or (value.host_port_end and not value.host_port):
        raise InvalidArgument(f"host ports {value.host_port} to {value.host_port_end} are no range",
                              field="ports.host_port", expected=f"0 to {_PORT_MAX}")
    if ":" in value.host_ip:
        raise Unimplemented("ports are published on IPv4 addresses", field="ports.host_ip", expected="an IPv4 address")
    address = parse_address(value.host_ip, "ports.host_ip") if value.host_ip else ANY
    return WantedPort(value.protocol, value.container_port, address, range(value.host_port, last + 1))


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
