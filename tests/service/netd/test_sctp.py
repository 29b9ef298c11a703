"""SCTP through the table: its packets by hand, since a kernel may lead them on and have no sockets for them."""

from __future__ import annotations

import socket
import struct

import pytest

from chassis.errors import Unimplemented
from netd import netns
from tests import world
from tests.service.netd.capture import capture
from tests.service.netd.engine import Netd, tcp
from tests.service.netd.lab import Lab

_INIT = struct.pack("!BBHIIHHI", 1, 0, 20, 0x1234, 65536, 1, 1, 1)
"""The first chunk of an association (RFC 9260 section 3.3.2)."""


def crc32c(data: bytes) -> int:
    """RFC 9260 appendix A."""
    found = 0xFFFFFFFF
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = found >> 1 ^ (0x82F63B78 if found & 1 else 0)
    return found ^ 0xFFFFFFFF


def packet(source_port: int, port: int) -> bytes:
    bare = struct.pack("!HHII", source_port, port, 0, 0) + _INIT
    return bare[:8] + struct.pack("<I", crc32c(bare)) + bare[12:]


def send(source_port: int) -> None:
    """An association's first packet from outside to port 8080 of the host."""
    def raw() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP)

    with netns.inside(world.OUTSIDE, raw) as sock:
        sock.sendto(packet(source_port, 8080), (world.ADDRESS, 0))


def test_a_published_sctp_port_leads_to_its_container_as_tcp_does(lab: Lab) -> None:
    one = lab.add_container("pt0", 2)
    lab.table.publish([one.port(8080, protocol="sctp")])
    assert lab.table.differences() == []
    with capture("eth0", one.path) as inside:
        send(40000)
        seen = inside.wait(lambda seen: seen.protocol == socket.IPPROTO_SCTP)
    assert (seen.source, seen.destination, seen.port) == (world.GATEWAY, str(one.address), 80)
    lab.table.unpublish("e" * 64)
    with capture("pt0") as bridge, capture("eth0") as wire:
        send(40001)
        wire.wait(lambda seen: seen.source_port == 40001)
        assert bridge.passed() == []


async def test_an_sctp_port_is_held_where_the_kernel_has_sockets_for_it_and_refused_where_not(
    netd: Netd, free_port: int
) -> None:
    await netd.create(1)
    wanted = [tcp(free_port, protocol="sctp"), tcp(free_port)]
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        with pytest.raises(Unimplemented, match="kernel has no sctp") as caught:
            await netd.attach(1, ports=wanted)
        assert caught.value.reason == "NO_SCTP"
        assert (await netd.network()).endpoint_count == 0
        return
    endpoint = await netd.attach(1, ports=wanted)
    assert [(port.protocol, port.host_port) for port in endpoint.ports] == [("sctp", free_port), ("tcp", free_port)]
    await netd.kill()
    await netd.start()
    assert await netd.fsck() == []
    with pytest.raises(OSError, match="in use"), socket.socket(
        socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP
    ) as stranger:
        stranger.bind(("0.0.0.0", free_port))
