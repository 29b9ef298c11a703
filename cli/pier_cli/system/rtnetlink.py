"""Links made and deleted, as far as the operator's commands need it. Source: rtnetlink(7)."""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

# <linux/rtnetlink.h>, <linux/if_link.h>
_RTM_NEWLINK: Final = 16
_RTM_DELLINK: Final = 17
_REQUEST_ACK: Final = 0x1 | 0x4
_CREATE_EXCL: Final = 0x200 | 0x400
_IFLA_IFNAME: Final = 3
_IFLA_MASTER: Final = 10
_IFLA_LINKINFO: Final = 18
_IFLA_INFO_KIND: Final = 1
_IFLA_INFO_DATA: Final = 2
_VETH_INFO_PEER: Final = 1
_NO_LINK: Final = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0)


def make_bridge(name: str) -> None:
    """A bridge in the network namespace of this process. OSError where the kernel refuses."""
    _make(name, b"bridge", b"", b"")


def make_veth(name: str, peer: str, bridge: str) -> None:
    """A pair of links, the first a port of ``bridge``."""
    other = _NO_LINK + _attribute(_IFLA_IFNAME, peer.encode() + b"\0")
    master = _attribute(_IFLA_MASTER, struct.pack("=I", socket.if_nametoindex(bridge)))
    _make(name, b"veth", _attribute(_VETH_INFO_PEER, other), master)


def delete(name: str) -> None:
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, socket.if_nametoindex(name), 0, 0)
    _ask(_RTM_DELLINK, _REQUEST_ACK, body, name)


def _make(name: str, kind: bytes, data: bytes, more: bytes) -> None:
    info = _attribute(_IFLA_INFO_KIND, kind) + (_attribute(_IFLA_INFO_DATA, data) if data else b"")
    body = _NO_LINK + _attribute(_IFLA_IFNAME, name.encode() + b"\0") + more + _attribute(_IFLA_LINKINFO, info)
    _ask(_RTM_NEWLINK, _REQUEST_ACK | _CREATE_EXCL, body, kind.decode())


def _ask(message: int, flags: int, body: bytes, what: str) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.send(struct.pack("=IHHII", 16 + len(body), message, flags, 1, 0) + body)
        (code,) = struct.unpack_from("=i", route.recv(4096), 16)
    if code:
        raise OSError(-code, f"{what}: {os.strerror(-code)}")


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)
