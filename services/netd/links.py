"""Links, addresses and routes: the requests that netd sends, and the records it reads back.

Functions named after a verb make a ``netlink.Request``; those named after a noun read the kernel.
Source: rtnetlink(7), <linux/if_link.h>, <linux/if_addr.h>, <linux/rtnetlink.h>, <linux/veth.h>.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import Final

from netd import netlink
from netd.ipam import Address as IpAddress
from netd.ipam import Block, Interface
from netd.netlink import NetlinkSocket, Request, attribute, nested, text, u8, u32

RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_NEWADDR: Final = 20
RTM_GETADDR: Final = 22
RTM_NEWROUTE: Final = 24
RTM_GETROUTE: Final = 26
RTNLGRP_LINK: Final = 1

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
_IFLA_IFALIAS, _IFLA_AF_SPEC, _IFLA_NET_NS_FD = 20, 26, 28
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_VETH_INFO_PEER: Final = 1
_MACVLAN_MODE: Final = 1
_IPVLAN_MODE, _IPVLAN_FLAGS = 1, 2
_VLAN_ID: Final = 1
_BR_FORWARD_DELAY, _BR_STP_STATE = 1, 5
_BRPORT_HAIRPIN, _BRPORT_ISOLATED = 4, 33
_INET6_ADDR_GEN_MODE, _ADDR_GEN_MODE_NONE = 8, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 1, 4, 5, 15
_IFA_F_NODAD: Final = 0x02
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RTN_UNICAST = 254, 4, 0, 1
_IFF_UP: Final = 0x1
_IFINFO: Final = struct.Struct("=BxHiII")
_IFADDR: Final = struct.Struct("=BBBBI")
_RTMSG: Final = struct.Struct("=BBBBBBBBI")
ALIAS_MAX: Final = 255
NAME_MAX: Final = 15


@dataclass(frozen=True)
class Link:
    """One network interface as the kernel shows it. ``master`` is 0 for none."""

    index: int
    name: str
    up: bool
    mac: str
    mtu: int
    master: int
    kind: str
    alias: str
    hairpin: bool
    isolated: bool


@dataclass(frozen=True)
class Address:
    """An address on the link with that index."""

    link: int
    address: Interface


@dataclass(frozen=True)
class Route:
    """A unicast route of the main table; ``gateway`` None for a connected one, ``link`` 0 where several hops."""

    destination: Block
    gateway: IpAddress | None
    link: int


def _info(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return _IFINFO.pack(socket.AF_UNSPEC, 0, index, flags, change)


def _mac(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def add_veth(name: str, peer: str, netns_fd: int | None = None, mac: str = "", mtu: int = 1500) -> Request:
    """A veth pair, down: ``name`` here, ``peer`` (with ``mac``) inside the namespace behind ``netns_fd`` or here."""
    peer_attributes = [text(_IFLA_IFNAME, peer), u32(_IFLA_MTU, mtu)]
    if netns_fd is not None:
        peer_attributes.append(u32(_IFLA_NET_NS_FD, netns_fd))
    if mac:
        peer_attributes.append(attribute(_IFLA_ADDRESS, _mac(mac)))
    body = _info() + text(_IFLA_IFNAME, name) + u32(_IFLA_MTU, mtu) + nested(
        _IFLA_LINKINFO,
        text(_INFO_KIND, "veth"),
        nested(_INFO_DATA, nested(_VETH_INFO_PEER, _info(), *peer_attributes)),
    )
    return Request(RTM_NEWLINK, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, body, f"add veth {name}")


def add_bridge(name: str, mac: str, mtu: int) -> Request:
    """A bridge, down, without spanning tree; its own MAC, which does not follow its ports'."""
    body = _info() + text(_IFLA_IFNAME, name) + nested(
        _IFLA_LINKINFO,
        text(_INFO_KIND, "bridge"),
        nested(_INFO_DATA, u32(_BR_FORWARD_DELAY, 0), u32(_BR_STP_STATE, 0)),
    ) + attribute(_IFLA_ADDRESS, _mac(mac)) + u32(_IFLA_MTU, mtu)
    return Request(RTM_NEWLINK, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, body, f"add bridge {name}")


def add_macvlan(name: str, parent: int, mode: int, netns_fd: int, mac: str = "", mtu: int = 0) -> Request:
    """A macvlan link of the link with index ``parent`` here, inside the namespace behind ``netns_fd``, down."""
    body = _info() + text(_IFLA_IFNAME, name) + u32(_IFLA_LINK, parent) + u32(_IFLA_NET_NS_FD, netns_fd)
    if mac:
        body += attribute(_IFLA_ADDRESS, _mac(mac))
    if mtu:
        body += u32(_IFLA_MTU, mtu)
    body += nested(
        _IFLA_LINKINFO, text(_INFO_KIND, "macvlan"), nested(_INFO_DATA, u32(_MACVLAN_MODE, mode))
    )
    return Request(RTM_NEWLINK, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, body, f"add macvlan {name}")


def add_ipvlan(name: str, parent: int, mode: int, flags: int, netns_fd: int, mtu: int = 0) -> Request:
    """An ipvlan link of the link with index ``parent`` here, inside the namespace behind ``netns_fd``, down."""
    body = _info() + text(_IFLA_IFNAME, name) + u32(_IFLA_LINK, parent) + u32(_IFLA_NET_NS_FD, netns_fd)
    if mtu:
        body += u32(_IFLA_MTU, mtu)
    data = nested(_INFO_DATA, _u16(_IPVLAN_MODE, mode), _u16(_IPVLAN_FLAGS, flags))
    body += nested(_IFLA_LINKINFO, text(_INFO_KIND, "ipvlan"), data)
    return Request(RTM_NEWLINK, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, body, f"add ipvlan {name}")


def has_kind(sock: NetlinkSocket, kind: str) -> bool:
    """Has the kernel links of that kind, of those that need a parent? It is asked for one without, and refuses: as none
    that it knows, or for the lack of a parent. A module that is not loaded is loaded by that."""
    body = _info() + nested(_IFLA_LINKINFO, text(_INFO_KIND, kind))
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL
    (result,) = sock.batch([Request(RTM_NEWLINK, flags, body, f"probe for {kind} links")])
    return result is not None and result.errno != errno.EOPNOTSUPP


def add_vlan(name: str, below: int, vlan: int) -> Request:
    """The VLAN of that number of the link with index ``below``, down."""
    body = _info() + text(_IFLA_IFNAME, name) + u32(_IFLA_LINK, below)
    data = nested(_INFO_DATA, _u16(_VLAN_ID, vlan))
    body += nested(_IFLA_LINKINFO, text(_INFO_KIND, "vlan"), data)
    return Request(RTM_NEWLINK, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, body, f"add vlan {name}")


def set_link(
    name: str, *, up: bool | None = None, master: int | None = None, alias: str | None = None, mac: str = ""
) -> Request:
    """Change what is given: up or down, bridge (0: none), alias ("" takes it away), MAC."""
    flags, change = (_IFF_UP if up else 0, _IFF_UP if up is not None else 0)
    body = _info(0, flags, change) + text(_IFLA_IFNAME, name)
    if master is not None:
        body += u32(_IFLA_MASTER, master)
    if alias is not None:
        body += text(_IFLA_IFALIAS, alias) if alias else attribute(_IFLA_IFALIAS, b"\0")
    if mac:
        body += attribute(_IFLA_ADDRESS, _mac(mac))
    return Request(RTM_NEWLINK, 0, body, f"set link {name}")


def set_port(name: str, *, hairpin: bool, isolated: bool) -> Request:
    """Flags of a bridge port: may a frame go back where it came from; is it cut off from other isolated ports."""
    body = _info() + text(_IFLA_IFNAME, name) + nested(
        _IFLA_LINKINFO,
        text(_INFO_SLAVE_KIND, "bridge"),
        nested(_INFO_SLAVE_DATA, u8(_BRPORT_HAIRPIN, hairpin), u8(_BRPORT_ISOLATED, isolated)),
    )
    return Request(RTM_NEWLINK, 0, body, f"set bridge port {name}")


def no_link_local(name: str) -> Request:
    """The link gets no IPv6 address by itself when it comes up, so that a host-side veth sends nothing of its own."""
    body = _info() + text(_IFLA_IFNAME, name)
    body += nested(_IFLA_AF_SPEC, nested(socket.AF_INET6, u8(_INET6_ADDR_GEN_MODE, _ADDR_GEN_MODE_NONE)))
    return Request(RTM_NEWLINK, 0, body, f"no link-local address on {name}")


def delete_link(name: str) -> Request:
    """Takes about 40 ms of waiting for RCU: not for a request's path."""
    return Request(RTM_DELLINK, 0, _info() + text(_IFLA_IFNAME, name), f"delete link {name}")


def add_address(link: int, address: Interface) -> Request:
    """An IPv6 address is usable at once: nobody is asked whether it is a duplicate."""
    local = address.ip.packed
    unchecked = _IFA_F_NODAD if address.version == 6 else 0
    body = _IFADDR.pack(_family(address), address.network.prefixlen, unchecked, 0, link)
    body += attribute(_IFA_LOCAL, local) + attribute(_IFA_ADDRESS, local)
    if isinstance(address, IPv4Interface) and address.network.prefixlen < 31:
        body += attribute(_IFA_BROADCAST, address.network.broadcast_address.packed)
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL
    return Request(RTM_NEWADDR, flags, body, f"add address {address} to link {link}")


def add_default_route(link: int, gateway: IpAddress) -> Request:
    """In place of the one there is."""
    body = _RTMSG.pack(
        _family(gateway), 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RTN_UNICAST, 0
    )
    body += attribute(_RTA_GATEWAY, gateway.packed) + u32(_RTA_OIF, link)
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE
    return Request(RTM_NEWROUTE, flags, body, f"default route by {gateway}")


def _u16(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=H", value))


def _family(value: Interface | IpAddress) -> int:
    return socket.AF_INET if value.version == 4 else socket.AF_INET6


def parse_link(body: bytes) -> Link:
    """A Link from the body of an RTM_NEWLINK or RTM_DELLINK message."""
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    found = netlink.parse_attributes(body[_IFINFO.size:])
    info = netlink.parse_attributes(found.get(_IFLA_LINKINFO, b""))
    port = (
        netlink.parse_attributes(info.get(_INFO_SLAVE_DATA, b""))
        if netlink.string_of(info.get(_INFO_SLAVE_KIND)) == "bridge" else {}
    )
    return Link(
        index=index,
        name=netlink.string_of(found.get(_IFLA_IFNAME)),
        up=bool(flags & _IFF_UP),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=_number(found.get(_IFLA_MTU)),
        master=_number(found.get(_IFLA_MASTER)),
        kind=netlink.string_of(info.get(_INFO_KIND)),
        alias=netlink.string_of(found.get(_IFLA_IFALIAS)),
        hairpin=port.get(_BRPORT_HAIRPIN, b"\0") != b"\0",
        isolated=port.get(_BRPORT_ISOLATED, b"\0") != b"\0",
    )


def link(sock: NetlinkSocket, name: str) -> Link:
    """The link of that name; OSError ENODEV where there is none."""
    return parse_link(sock.get(RTM_GETLINK, _info() + text(_IFLA_IFNAME, name), f"get link {name}").body)


def all_links(sock: NetlinkSocket) -> list[Link]:
    return [parse_link(m.body) for m in sock.dump(RTM_GETLINK, _info(), "list links")]


def addresses(sock: NetlinkSocket) -> list[Address]:
    """Every address of the namespace, IPv6 link-local ones included."""
    found = []
    for family in _FAMILIES:
        for message in sock.dump(RTM_GETADDR, _IFADDR.pack(family, 0, 0, 0, 0), "list addresses"):
            _, prefix, _, _, index = _IFADDR.unpack_from(message.body)
            values = netlink.parse_attributes(message.body[_IFADDR.size:])
            local = values.get(_IFA_LOCAL) or values.get(_IFA_ADDRESS)
            if local:
                found.append(Address(index, ipaddress.ip_interface((local, prefix))))
    return found


def routes(sock: NetlinkSocket) -> list[Route]:
    """Every unicast route of the main table, the default routes (0.0.0.0/0 and ::/0) included."""
    return [route for family in _FAMILIES for route in _routes(sock, family)]


def _routes(sock: NetlinkSocket, family: int) -> Iterator[Route]:
    body = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
    for message in sock.dump(RTM_GETROUTE, body, "list routes"):
        _, prefix, _, _, table, _, _, kind, _ = _RTMSG.unpack_from(message.body)
        values = netlink.parse_attributes(message.body[_RTMSG.size:])
        if kind != _RTN_UNICAST or _number(values.get(_RTA_TABLE)) not in (_RT_TABLE_MAIN, 0) or table == 0:
            continue
        gateway = values.get(_RTA_GATEWAY)
        anywhere = bytes(4 if family == socket.AF_INET else 16)
        yield Route(
            destination=ipaddress.ip_network((values.get(_RTA_DST, anywhere), prefix)),
            gateway=ipaddress.ip_address(gateway) if gateway else None,
            link=_number(values.get(_RTA_OIF)),
        )


def _number(payload: bytes | None) -> int:
    return 0 if payload is None else int(struct.unpack_from("=I", payload)[0])
