"""What passes a link, as its own packet socket sees it: for claims that nothing does."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from netd import netns

_ALL: Final = 0x0003
_MARKER: Final = 0x88B5
"""IEEE 802's ethertype for local experiments."""
_BUFFER: Final = 8 << 20
_PATIENCE_SECONDS: Final = 30
_ICMPV6: Final = 58
_HOUSEKEEPING: Final = range(130, 144)
"""ICMPv6 types by which links look for routers and neighbours: of a link's own, not somebody's packet. IPv4's are ARP
and IGMP."""


@dataclass(frozen=True)
class Seen:
    """An IP packet. Ports are 0 where it has none."""

    protocol: int
    source: str
    destination: str
    source_port: int
    port: int


class Capture:
    """The IP packets that pass a link in either direction, from its making on."""

    def __init__(self, link: str, namespace: Path | None) -> None:
        self._link, self._namespace = link, namespace
        self._socket = self._open()
        self._socket.settimeout(_PATIENCE_SECONDS)

    def _open(self) -> socket.socket:
        def make() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
            made.setsockopt(socket.SOL_SOCKET, 33, _BUFFER)  # SO_RCVBUFFORCE
            made.bind((self._link, _ALL))
            return made

        return netns.inside(self._namespace, make) if self._namespace else make()

    def close(self) -> None:
        self._socket.close()

    def passed(self) -> list[Seen]:
        """What has passed since the last look: everything before a marker that is sent along the link now."""
        marker = os.urandom(46)
        with self._open() as sender:
            sender.send(b"\xff" * 6 + b"\x02" + bytes(5) + struct.pack("!H", _MARKER) + marker)
        found = []
        while marker not in (frame := self._socket.recv(65536)):
            if (seen := parsed(frame)) is not None:
                found.append(seen)
        return found

    def wait(self, meant: Callable[[Seen], bool]) -> Seen:
        """The next packet that is meant. TimeoutError."""
        while (seen := parsed(self._socket.recv(65536))) is None or not meant(seen):
            pass
        return seen


@contextmanager
def capture(link: str, namespace: Path | None = None) -> Iterator[Capture]:
    """Of a link of the host, or of the network namespace pinned at ``namespace``."""
    made = Capture(link, namespace)
    try:
        yield made
    finally:
        made.close()


def parsed(frame: bytes) -> Seen | None:
    """None for what is no IP packet, or a link's own housekeeping."""
    (kind,) = struct.unpack_from("!H", frame, 12)
    body = frame[14:]
    if kind == 0x0800:
        source, destination = body[12:16], body[16:20]
        protocol, payload = body[9], body[(body[0] & 0xF) * 4:]
        if protocol == socket.IPPROTO_IGMP:
            return None
    elif kind == 0x86DD:
        source, destination = body[8:24], body[24:40]
        protocol, payload = body[6], body[40:]
        if protocol == 0 and payload[:1] == bytes([_ICMPV6]):  # hop-by-hop options of a multicast listener's report
            return None
    else:
        return None
    if protocol == _ICMPV6 and payload[0] in _HOUSEKEEPING:
        return None
    ported = protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_SCTP)
    source_port, port = struct.unpack_from("!HH", payload) if ported else (0, 0)
    return Seen(protocol, str(ipaddress.ip_address(source)), str(ipaddress.ip_address(destination)), source_port, port)
