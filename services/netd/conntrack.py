"""Connection tracking's memory of published UDP ports, which outlives the ports.

A flow of datagrams has no end: as long as a client goes on sending, its entry leads where it led at first, to a
container that is gone, or to the host from before the port was published. So when a UDP port comes or goes, the flows
to it are forgotten, and their next datagram asks the nft table again. TCP connections end by themselves.

Source: <linux/netfilter/nfnetlink_conntrack.h>.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection, Iterator
from typing import Final

from netd import netlink
from netd.netlink import NetlinkSocket, Request

_SUBSYSTEM: Final = 1 << 8
_GET: Final = _SUBSYSTEM | 1
_DELETE: Final = _SUBSYSTEM | 2
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_NFGENMSG: Final = struct.Struct("=BBH")
_TUPLE_ORIG: Final = 1
_TUPLE_PROTO: Final = 2
_PROTO_NUM, _PROTO_DST_PORT = 1, 3
_AT_ONCE: Final = 64
"""Requests of one datagram: their acknowledgements have to fit the socket's receive buffer."""


def forget_udp(sock: NetlinkSocket, ports: Collection[int]) -> int:
    """Delete the UDP flows that were sent to one of these ports; how many there were.

    ``sock`` is a NETLINK_NETFILTER socket. Takes time in proportion to the host's number of flows: a worker's work.
    """
    if not ports:
        return 0
    requests = [request for family in _FAMILIES for request in _deletions(sock, family, ports)]
    gone = 0
    for start in range(0, len(requests), _AT_ONCE):
        for result in sock.batch(requests[start:start + _AT_ONCE]):
            if result is None:
                gone += 1
            elif result.errno != errno.ENOENT:
                raise result
    return gone


def _deletions(sock: NetlinkSocket, family: int, ports: Collection[int]) -> Iterator[Request]:
    head = _NFGENMSG.pack(family, 0, 0)
    for message in sock.dump(_GET, head, "list flows"):
        original = netlink.parse_attributes(message.body[len(head):]).get(_TUPLE_ORIG, b"")
        protocol = netlink.parse_attributes(netlink.parse_attributes(original).get(_TUPLE_PROTO, b""))
        if protocol.get(_PROTO_NUM) != bytes([socket.IPPROTO_UDP]):
            continue
        (port,) = struct.unpack("!H", protocol.get(_PROTO_DST_PORT, b"\0\0")[:2])
        if port in ports:
            body = head + netlink.attribute(_TUPLE_ORIG | netlink.NLA_F_NESTED, original)
            yield Request(_DELETE, 0, body, f"forget a flow to udp port {port}")
