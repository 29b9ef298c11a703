"""The options of a bridge network, by Docker's keys. An unknown one is refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from chassis.errors import InvalidArgument, Unimplemented
from chassis.switches import switch
from netd import bridge
from netd.ipam import parse_address
from netd.table import ANY, VERSIONS
from pier.network.v1 import network_pb2

MTU: Final = "com.docker.network.driver.mtu"
PREFIX: Final = "com.docker.network.container_iface_prefix"
NAME: Final = "com.docker.network.bridge.name"
ICC: Final = "com.docker.network.bridge.enable_icc"
MASQUERADE: Final = "com.docker.network.bridge.enable_ip_masquerade"
BINDING: Final = "com.docker.network.bridge.host_binding_ipv4"
MODE: Final = {4: "com.docker.network.bridge.gateway_mode_ipv4", 6: "com.docker.network.bridge.gateway_mode_ipv6"}
NAT, ROUTED, ISOLATED = "nat", "routed", "isolated"
_LINK: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_PREFIX: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,10}")
_MTU_MIN: Final = 576
_MTU_MIN_6: Final = 1280
"""RFC 8200 section 5."""
_MTU_MAX: Final = 65535
_NO_LINKS: Final = ("lo", "all", "default", "..")
"""Names that mean something else to the kernel."""


@dataclass(frozen=True)
class BridgeOptions:
    """The options read. ``name``: of the bridge, "" for one that netd chooses. ``icc``: may the network's containers
    talk to each other? ``masquerade``: do they go out by the host's address? ``binding``: where ports are published
    that are asked for at no address. ``prefix``: of the names of the links inside. ``modes``: by IP version."""

    mtu: int = bridge.MTU
    name: str = ""
    icc: bool = True
    masquerade: bool = True
    binding: IPv4Address = ANY
    prefix: str = "eth"
    mode4: str = NAT
    mode6: str = NAT

    def versions(self, mode: str) -> tuple[int, ...]:
        """The IP versions whose gateway mode that is."""
        return tuple(version for version in VERSIONS if (self.mode4 if version == 4 else self.mode6) == mode)

    @property
    def masqueraded(self) -> tuple[int, ...]:
        """The IP versions in which containers go out by the host's address."""
        return self.versions(NAT) if self.masquerade else ()


def read(spec: network_pb2.NetworkSpec) -> BridgeOptions:
    """InvalidArgument for a value that is none, Unimplemented for an option or a mode that is not built."""
    found: dict[str, object] = {}
    for key, value in spec.options.items():
        if key not in _READERS:
            raise Unimplemented(f"network option {ascii(key)[:80]} is not built", field="spec.options",
                                expected=", ".join(sorted(_READERS)))
        name, reader = _READERS[key]
        found[name] = reader(key, value)
    made = BridgeOptions(**found)  # type: ignore[arg-type]
    if spec.enable_ipv6 and made.mtu < _MTU_MIN_6:
        raise _wrong(MTU, str(made.mtu), f"{_MTU_MIN_6} or more: the network has IPv6")
    if not spec.internal:
        for version in made.versions(ISOLATED):
            raise InvalidArgument(f"{MODE[version]}: gateway mode 'isolated' can only be used for an internal network",
                                  field=f"spec.options.{MODE[version]}", expected=f"{NAT} or {ROUTED}")
    return made


def _mtu(key: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal()) or not _MTU_MIN <= int(value[:6]) <= _MTU_MAX:
        raise _wrong(key, value, f"{_MTU_MIN} to {_MTU_MAX}")
    return int(value)


def _flag(key: str, value: str) -> bool:
    if (meant := switch(value)) is None:
        raise _wrong(key, value, "true or false")
    return meant


def link_name(key: str, value: str) -> str:
    """``value``, which names a link. InvalidArgument."""
    if not _LINK.fullmatch(value) or value in _NO_LINKS:
        raise _wrong(key, value, "the name of a link: at most 15 letters, digits, '.', '_', '-'")
    return value


def _prefix(key: str, value: str) -> str:
    if not _PREFIX.fullmatch(value) or value == "lo":
        raise _wrong(key, value, "at most 11 letters, digits, '_', '-'")
    return value


def _binding(key: str, value: str) -> IPv4Address:
    address = parse_address(value, f"spec.options.{key}")
    if not isinstance(address, IPv4Address):
        raise _wrong(key, value, "an IPv4 address")
    return address


def _mode(key: str, value: str) -> str:
    if value == "nat-unprotected":
        raise Unimplemented(f"{key}: {value} is not built: it would open every port of the network's containers",
                            field=f"spec.options.{key}", expected=f"{NAT}, {ROUTED} or {ISOLATED}")
    if value not in (NAT, ROUTED, ISOLATED):
        raise _wrong(key, value, f"{NAT}, {ROUTED} or {ISOLATED}")
    return value


_READERS: Final[Mapping[str, tuple[str, Callable[[str, str], object]]]] = {
    MTU: ("mtu", _mtu), PREFIX: ("prefix", _prefix), NAME: ("name", link_name), ICC: ("icc", _flag),
    MASQUERADE: ("masquerade", _flag), BINDING: ("binding", _binding), MODE[4]: ("mode4", _mode),
    MODE[6]: ("mode6", _mode),
}


def _wrong(key: str, value: str, expected: str) -> InvalidArgument:
    return InvalidArgument(f"{key}: {ascii(value)[:40]} is not {expected}", field=f"spec.options.{key}",
                           expected=expected)
