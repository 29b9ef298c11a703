"""Published ports over gRPC: who gets one, who reaches it, and how they change live."""

from __future__ import annotations

import asyncio
import socket

import pytest

from chassis.errors import (
    Conflict,
)
from pier.network.v1 import network_pb2 as net
from tests import world
from tests.service.netd.engine import Netd, tcp
from tests.service.netd.packets import exchange, in_namespace, listener, on_host
from tests.service.netd.test_service import OUTSIDE, attempted, path_of, reached


async def test_a_published_port_is_reached_from_outside_the_host_loopback_neighbours_and_itself(
    netd: Netd, free_port: int
) -> None:
    one, two = await netd.create(1), await netd.create(2)
    endpoint = await netd.attach(1, ports=[tcp(free_port), tcp(free_port, protocol="udp")])
    await netd.attach(2)
    assert [(p.protocol, p.host_ip, p.host_port) for p in endpoint.ports] == [
        ("tcp", "0.0.0.0", free_port), ("udp", "0.0.0.0", free_port)
    ]
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with listener(in_namespace(path_of(one)), "0.0.0.0", 80, kind) as server:
            assert await reached(OUTSIDE, world.ADDRESS, free_port, server) == world.GATEWAY
            for source in (on_host, in_namespace(path_of(two)), in_namespace(path_of(one))):
                assert await reached(source, world.ADDRESS, free_port, server) is not None
            assert await reached(on_host, "127.0.0.1", free_port, server) is not None


async def test_a_client_that_goes_on_sending_reaches_the_next_container_of_a_udp_port(
    netd: Netd, free_port: int
) -> None:
    target = (world.ADDRESS, free_port)
    with OUTSIDE(socket.SOCK_DGRAM) as client:
        # Before the port is published the host itself is meant, and connection tracking remembers that too.
        client.sendto(b"early", target)
        for number in (1, 2):
            made = await netd.create(number)
            await netd.attach(number, ports=[tcp(free_port, protocol="udp")])
            with listener(in_namespace(path_of(made)), "0.0.0.0", 80, socket.SOCK_DGRAM) as server:
                await asyncio.to_thread(exchange, client, target, server, b"hello %d" % number)
            await netd.remove(number)


async def test_a_port_of_another_program_is_refused_before_anything_is_made(netd: Netd, free_port: int) -> None:
    await netd.create(1)
    before = netd.counts()
    with listener(on_host, "0.0.0.0", free_port):
        with pytest.raises(Conflict, match="port is already allocated") as caught:
            await netd.attach(1, ports=[tcp(0), tcp(free_port)])
        assert caught.value.reason == "PORT_TAKEN"
    assert netd.counts() == before
    assert (await netd.network()).endpoint_count == 0
    await netd.attach(1, ports=[tcp(free_port)])


async def test_a_port_of_another_endpoint_is_refused_until_it_is_released(netd: Netd, free_port: int) -> None:
    await netd.create(1)
    await netd.create(2)
    await netd.attach(1, ports=[tcp(free_port)])
    with pytest.raises(Conflict, match="port is already allocated"):
        await netd.attach(2, ports=[tcp(free_port, "127.0.0.1")])
    await netd.remove(1)
    await netd.attach(2, ports=[tcp(free_port, "127.0.0.1")])


async def test_no_other_program_gets_a_published_port(netd: Netd, free_port: int) -> None:
    await netd.create(1)
    endpoint = await netd.attach(1, ports=[tcp(free_port), tcp(0), tcp(0, protocol="udp")])
    for port in endpoint.ports:
        kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
        with socket.socket(socket.AF_INET, kind) as stranger, pytest.raises(OSError, match="in use"):  # noqa: PT012
            if kind == socket.SOCK_STREAM:
                stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stranger.bind(("0.0.0.0", port.host_port))
            stranger.listen()


async def test_a_range_takes_its_first_free_port(netd: Netd) -> None:
    await netd.create(1)
    with listener(on_host, "0.0.0.0", 18080):
        wanted = net.PublishedPort(protocol="tcp", container_port=80, host_port=18080, host_port_end=18082)
        endpoint = await netd.attach(1, ports=[wanted, wanted])
        assert [port.host_port for port in endpoint.ports] == [18081, 18082]


async def test_ports_of_an_endpoint_change_all_or_nothing_and_a_host_port_may_move(netd: Netd, free_port: int) -> None:
    made = await netd.create(1)
    await netd.attach(1, ports=[tcp(free_port, container_port=80)])

    async def set_ports(*ports: net.PublishedPort) -> list[tuple[int, int]]:
        return sorted((port.host_port, port.container_port) for port in (await netd.set_ports(1, *ports)).ports)

    inside = in_namespace(path_of(made))
    with listener(inside, "0.0.0.0", 80) as at_80, listener(inside, "0.0.0.0", 81) as at_81:
        assert await reached(OUTSIDE, world.ADDRESS, free_port, at_80) is not None
        assert await set_ports(tcp(free_port, container_port=81)) == [(free_port, 81)]
        assert await reached(OUTSIDE, world.ADDRESS, free_port, at_81) is not None
        with socket.create_server(("", 0)) as taken, pytest.raises(Conflict):
            await set_ports(tcp(free_port, container_port=80), tcp(taken.getsockname()[1]))
        assert await reached(OUTSIDE, world.ADDRESS, free_port, at_81) is not None
        await netd.kill()
        await netd.start()
        assert await reached(OUTSIDE, world.ADDRESS, free_port, at_81) is not None
        both = net.PublishedPort(protocol="tcp", container_port=80, host_port=free_port, host_port_end=free_port + 1)
        assert await set_ports(both, both) == [(free_port, 80), (free_port + 1, 80)]
        both.container_port = 81
        assert await set_ports(both, both) == [(free_port, 81), (free_port + 1, 81)]
        assert await set_ports() == []
        assert await attempted(OUTSIDE, world.ADDRESS, free_port, at_81) is None
    assert await netd.fsck() == []


@pytest.mark.parametrize("address", ["0.0.0.0", world.ADDRESS, "::", world.ADDRESS6])
@pytest.mark.parametrize("protocol, kind", [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
async def test_a_port_that_any_socket_has_at_any_address_is_refused_for_all_of_them(
    netd: Netd, free_port: int, protocol: str, kind: int, address: str
) -> None:
    await netd.create_network(7, "blue", enable_ipv6=True)
    await netd.create(1)
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as taken:
        if taken.family == socket.AF_INET6:
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind((address, free_port))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        with pytest.raises(Conflict, match="port is already allocated"):
            await netd.attach(1, "blue", ports=[tcp(free_port, protocol=protocol)])
        assert (await netd.network("blue")).endpoint_count == 0
        await netd.attach(1, "blue")
        with pytest.raises(Conflict, match="port is already allocated"):
            await netd.set_ports(1, tcp(free_port, protocol=protocol), network="blue")
    endpoint = await netd.set_ports(1, tcp(free_port, protocol=protocol), network="blue")
    assert {port.host_ip for port in endpoint.ports} == {"0.0.0.0", "::"}
