"""What netd remembers survives its upgrade."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

import pytest

from chassis.ids import NetworkId, SandboxId
from netd import records
from netd.ipam import Plan
from netd.records import MIGRATIONS, Endpoint, Network, Sandbox
from pier.network.v1 import network_pb2
from pier.types.v1 import types_pb2

OWNER = types_pb2.Owner(manager="test", namespace="docker", id="blue")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as opened:
        yield opened


def test_a_network_of_the_first_schema_keeps_its_subnet_its_endpoints_and_how_far_its_addresses_went(
    connection: sqlite3.Connection,
) -> None:
    connection.executescript(MIGRATIONS[0])
    connection.execute(
        "INSERT INTO networks VALUES (?, 'docker', 'blue', ?, 1, ?, 0, 'pvn1', '10.0.0.0/24', '10.0.0.1', 7)",
        ("1" * 64, OWNER.SerializeToString(), network_pb2.NetworkSpec(driver="bridge").SerializeToString()))
    connection.execute("INSERT INTO networks VALUES (?, '', 'none', ?, 2, ?, 1, '', '', '', 0)",
                       ("2" * 64, OWNER.SerializeToString(), b""))
    connection.execute("INSERT INTO sandboxes VALUES (?, 1, ?, 'pin', 'boot')", ("3" * 64, b""))
    connection.execute(
        "INSERT INTO endpoints VALUES (?, ?, ?, 1, 'pv1', 'eth0', '10.0.0.5/24', '02:42:0a:00:00:05', ?, ?)",
        ("4" * 64, "3" * 64, "1" * 64, b"", b""))
    connection.executescript(MIGRATIONS[1])
    blue, none = records.networks(connection)
    assert blue.subnets == (Plan(IPv4Network("10.0.0.0/24"), IPv4Address("10.0.0.1")),)
    assert blue.cursors == (8,), "counted from the subnet's own address"
    assert (none.subnets, none.link) == ((), "")
    (endpoint,) = records.endpoints(connection)
    assert endpoint.addresses == (IPv4Interface("10.0.0.5/24"),)


def test_a_network_and_an_endpoint_are_read_as_they_were_written(connection: sqlite3.Connection) -> None:
    for script in MIGRATIONS:
        connection.executescript(script)
    connection.execute("PRAGMA foreign_keys=ON")
    plans = (
        Plan(IPv4Network("10.0.0.0/24"), None, IPv4Network("10.0.0.8/29"), {"a": IPv4Address("10.0.0.9")}),
        Plan(IPv6Network("fd00::/64"), IPv6Address("fd00::1")),
    )
    network = Network(NetworkId("1" * 64), "docker", "blue", OWNER, 1, network_pb2.NetworkSpec(), False, "l", plans,
                      (0, 0))
    sandbox = Sandbox(SandboxId("3" * 64), 1, network_pb2.CreateSandboxRequest(), "pin", "boot")
    endpoint = Endpoint("4" * 64, sandbox.id, network.id, 1, "pv1", "eth0", None, "02:42:00:00:00:01",
                        network_pb2.Attachment(), (), IPv6Interface("fd00::2/64"))
    records.insert_network(connection, network)
    records.insert_sandbox(connection, sandbox)
    records.insert_endpoint(connection, endpoint, [3, 9])
    assert records.endpoints(connection) == [endpoint]
    found = records.network(connection, network.id)
    assert found is not None
    assert (found.subnets, found.cursors) == (plans, (3, 9))
    records.delete_sandbox(connection, sandbox.id)
    records.delete_network(connection, network.id)
    assert records.networks(connection) == []
