"""Host ports: held against every other program, all or none, and free again at once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest

from chassis.errors import Conflict, InvalidArgument
from netd.ports import Group, HostPort, HostPorts

LOOPBACK = IPv4Address("127.0.0.1")
ANY = IPv4Address("0.0.0.0")


@pytest.fixture
def ports() -> Iterator[HostPorts]:
    made = HostPorts()
    yield made
    for endpoint in "abc":
        made.release(endpoint)
    assert made.count == 0


def one(number: int, protocol: str = "tcp", address: IPv4Address = LOOPBACK) -> list[list[Group]]:
    return [[(HostPort(protocol, address, number),)]]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_port_zero_takes_a_free_one_and_holds_it(ports: HostPorts, protocol: str) -> None:
    ((held,),) = ports.reserve("a", one(0, protocol))
    assert held.port > 0
    assert ports.holds("a") == [held]
    for address in (LOOPBACK, ANY):
        with pytest.raises(Conflict, match="port is already allocated") as caught:
            ports.reserve("b", one(held.port, protocol, address))
        assert caught.value.reason == "PORT_TAKEN"
    ports.release("a")
    ports.release("a")
    assert ports.reserve("b", one(held.port, protocol)) == [(held,)]


def test_tcp_and_udp_of_one_number_are_two_ports(ports: HostPorts) -> None:
    ((held,),) = ports.reserve("a", one(0))
    assert ports.reserve("b", one(held.port, "udp"))[0][0].port == held.port


def test_all_are_held_or_none(ports: HostPorts) -> None:
    ((taken,),) = ports.reserve("a", one(0))
    ((free,),) = ports.reserve("b", one(0))
    ports.release("b")
    with pytest.raises(Conflict):
        ports.reserve("b", [*one(free.port), *one(taken.port)])
    assert ports.holds("b") == []
    assert ports.reserve("c", one(free.port)) == [(free,)]


def test_of_several_the_first_free_one_is_held(ports: HostPorts) -> None:
    ((taken,),) = ports.reserve("a", one(0))
    ((free,),) = ports.reserve("b", one(0))
    ports.release("b")
    candidates = [(HostPort("tcp", LOOPBACK, taken.port),), (HostPort("tcp", LOOPBACK, free.port),)]
    assert ports.reserve("b", [candidates]) == [(free,)]
    with pytest.raises(Conflict):
        ports.reserve("c", [candidates])


def test_connections_of_an_ended_server_do_not_stand_in_the_way_and_a_living_one_does(ports: HostPorts) -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        number = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", number)) as client:
            served, _ = server.accept()
            # Whoever closes first keeps the port in TIME_WAIT.
            served.close()
            assert client.recv(1) == b""
        with pytest.raises(Conflict):
            ports.reserve("a", one(number))
    assert ports.reserve("a", one(number))[0][0].port == number


def test_a_server_that_shares_addresses_cannot_listen_on_a_held_port(ports: HostPorts) -> None:
    ((held,),) = ports.reserve("a", one(0))
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):  # noqa: PT012 - either call may be the one that is refused
            stranger.bind(("127.0.0.1", held.port))
            stranger.listen()


def test_an_address_of_another_host_and_an_unknown_protocol_are_refused(ports: HostPorts) -> None:
    with pytest.raises(InvalidArgument, match="no address of this host"):
        ports.reserve("a", one(0, address=IPv4Address("192.0.2.250")))
    with pytest.raises(InvalidArgument):
        ports.reserve("a", one(0, "icmp"))


def both(number: int) -> Group:
    return HostPort("tcp", ANY, number), HostPort("tcp", IPv6Address("::"), number)


def test_a_group_is_held_under_one_number_at_all_its_addresses_or_not_at_all(ports: HostPorts) -> None:
    ((first, second),) = ports.reserve("a", [[both(0)]])
    assert first.port == second.port > 0
    with socket.socket(socket.AF_INET6) as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(("::", first.port))
    ports.release("a")
    with socket.socket(socket.AF_INET6) as stranger:
        stranger.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        stranger.bind(("::", first.port))
        with pytest.raises(Conflict, match=r"Bind for \[::\]"):
            ports.reserve("a", [[both(first.port)]])
        assert ports.holds("a") == []
        assert ports.reserve("b", one(first.port, address=ANY)), "IPv4 alone is free"


def test_what_an_endpoint_owns_is_taken_over_and_stays_its_own_when_the_rest_fails(ports: HostPorts) -> None:
    ((mine,),) = ports.reserve("a", one(0, address=ANY))
    ((taken,),) = ports.reserve("b", one(0, address=ANY))
    with pytest.raises(Conflict):
        ports.reserve("a", [[both(mine.port)], *one(taken.port, address=ANY)], {mine})
    assert ports.holds("a") == [mine]
    assert ports.reserve("a", [[both(mine.port)]], {mine}) == [both(mine.port)]
    assert set(ports.holds("a")) == set(both(mine.port))


def test_an_empty_group_holds_nothing(ports: HostPorts) -> None:
    assert ports.reserve("a", [[()]]) == [()]
    assert ports.count == 0
