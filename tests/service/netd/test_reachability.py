"""Who reaches whom: for each kind of network, over each IP version, every way that a connection may take.

A row of ``NETWORKS`` is a kind of network with the ways that are open; every other way is closed. ``server`` is a
container on it whose port 80 is published and whose port 81 is not.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from netd import options
from pier.network.v1 import network_pb2 as net
from tests import world
from tests.service.netd.engine import Netd, run, tcp
from tests.service.netd.packets import (
    REFUSED_SECONDS,
    SocketMaker,
    in_namespace,
    in_namespace6,
    listener,
    on_host,
    on_host6,
)
from tests.service.netd.test_service import path_of

SUBNETS: Final = {4: "10.89.0.0/24", 6: "fd89::/64"}
HOST: Final = {4: world.ADDRESS, 6: world.ADDRESS6}
OUTSIDE: Final = {4: world.GATEWAY, 6: world.GATEWAY6}
LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}
PORT: Final = 18089

HOST_TO_CONTAINER = "the host reaches the container's address"
OUTSIDE_TO_PUBLISHED = "another host that knows the way reaches the published port at the container's address"
OUTSIDE_TO_UNPUBLISHED = "another host that knows the way reaches the unpublished port at the container's address"
OUTSIDE_TO_HOST_PORT = "another host reaches the host's port"
LOOPBACK_TO_HOST_PORT = "the host reaches its port at its loopback address"
HOST_TO_HOST_PORT = "the host reaches its port at its own address"
NEIGHBOUR = "a container of the same network reaches the container's address"
NEIGHBOUR_TO_HOST_PORT = "a container of the same network reaches the host's port"
HAIRPIN = "the container reaches itself by the host's port"
OTHER = "a container of another network reaches the container's address"
OTHER_TO_HOST_PORT = "a container of another network reaches the host's port"
OUT = "the container reaches another host"
WAYS: Final = frozenset({
    HOST_TO_CONTAINER, OUTSIDE_TO_PUBLISHED, OUTSIDE_TO_UNPUBLISHED, OUTSIDE_TO_HOST_PORT, LOOPBACK_TO_HOST_PORT,
    HOST_TO_HOST_PORT, NEIGHBOUR, NEIGHBOUR_TO_HOST_PORT, HAIRPIN, OTHER, OTHER_TO_HOST_PORT, OUT,
})
BY_HOST_PORT: Final = frozenset({
    OUTSIDE_TO_HOST_PORT, LOOPBACK_TO_HOST_PORT, HOST_TO_HOST_PORT, NEIGHBOUR_TO_HOST_PORT, HAIRPIN, OTHER_TO_HOST_PORT,
})
NOT_ON_IPV6: Final = frozenset({LOOPBACK_TO_HOST_PORT})
"""The kernel leads nothing from ::1 to a container, whatever is published."""


@dataclass(frozen=True)
class Kind:
    """A kind of network. ``publishes``: may its containers have host ports?"""

    open: frozenset[str]
    spec: dict[str, Any] = field(default_factory=dict)
    publishes: bool = True


ROUTED: Final = {options.MODE[4]: "routed", options.MODE[6]: "routed"}
ISOLATED: Final = {options.MODE[4]: "isolated", options.MODE[6]: "isolated"}
NETWORKS: Final = {
    "bridge": Kind(BY_HOST_PORT | {HOST_TO_CONTAINER, NEIGHBOUR, OUT}),
    "bridge without icc": Kind(
        BY_HOST_PORT - {NEIGHBOUR_TO_HOST_PORT, HAIRPIN} | {HOST_TO_CONTAINER, OUT},
        {"options": {options.ICC: "false"}}),
    "bridge without masquerade": Kind(
        BY_HOST_PORT | {HOST_TO_CONTAINER, NEIGHBOUR, OUT}, {"options": {options.MASQUERADE: "false"}}),
    "bridge in routed mode": Kind(
        frozenset({HOST_TO_CONTAINER, OUTSIDE_TO_PUBLISHED, NEIGHBOUR, OUT, OTHER}), {"options": ROUTED}),
    "internal bridge": Kind(frozenset({HOST_TO_CONTAINER, NEIGHBOUR}), {"internal": True}, publishes=False),
    "internal bridge in isolated mode": Kind(
        frozenset({NEIGHBOUR}), {"internal": True, "options": ISOLATED}, publishes=False),
    "macvlan": Kind(
        frozenset({OUTSIDE_TO_PUBLISHED, OUTSIDE_TO_UNPUBLISHED, NEIGHBOUR, OUT}),
        {"driver": "macvlan", "options": {"parent": "eth0"}}, publishes=False),
    "macvlan without a parent": Kind(frozenset({NEIGHBOUR}), {"driver": "macvlan"}, publishes=False),
}


async def connects(make: SocketMaker, address: str, port: int) -> bool:
    def work() -> bool:
        with make(1) as client:
            client.settimeout(REFUSED_SECONDS)
            return client.connect_ex((address, port)) == 0

    return await asyncio.to_thread(work)


@contextmanager
def the_outside_host_knows_the_way(version: int, kind: str) -> Iterator[None]:
    """To the network's subnet: by this host, or on the wire where the network stands there itself."""
    ip = ["ip", "-n", world.OUTSIDE.name, f"-{version}", "route"]
    way = ["dev", "world0"] if kind == "macvlan" else ["via", HOST[version]]
    subprocess.run([*ip, "add", SUBNETS[version], *way], check=True)
    try:
        yield
    finally:
        subprocess.run([*ip, "del", SUBNETS[version], *way], check=True)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("name", list(NETWORKS))
async def test_every_way_is_open_or_closed_as_the_table_says(netd: Netd, name: str, version: int) -> None:
    kind = NETWORKS[name]
    spec: dict[str, Any] = {
        "enable_ipv6": version == 6, "enable_ipv4": version == 4,
        "pools": [net.Pool(subnet=SUBNETS[version])], **kind.spec,
    }
    await netd.create_network(7, "own", **spec)
    await netd.create_network(8 << 240, "other", enable_ipv6=version == 6, enable_ipv4=version == 4)
    boxes = [await netd.create(number) for number in (1, 2, 3)]
    published = [tcp(PORT)] if kind.publishes else []
    endpoints = [await netd.attach(1, "own", ports=published), await netd.attach(2, "own"),
                 await netd.attach(3, "other")]
    inside = in_namespace if version == 4 else in_namespace6
    host: SocketMaker = on_host if version == 4 else on_host6
    server, neighbour, other = (inside(path_of(box)) for box in boxes)
    outside = inside(world.OUTSIDE)
    field_ = "ipv4" if version == 4 else "ipv6"
    address = getattr(endpoints[0], field_).partition("/")[0]
    if name == "macvlan":
        for box in boxes[:2]:
            route = ["ip", f"-{version}", "route", "replace", OUTSIDE[version], "dev", "eth0"]
            run("nsenter", f"--net={path_of(box)}", *route)
    everywhere = "0.0.0.0" if version == 4 else "::"
    ways = {
        HOST_TO_CONTAINER: (host, address, 80), OUTSIDE_TO_PUBLISHED: (outside, address, 80),
        OUTSIDE_TO_UNPUBLISHED: (outside, address, 81), OUTSIDE_TO_HOST_PORT: (outside, HOST[version], PORT),
        LOOPBACK_TO_HOST_PORT: (host, LOOPBACK[version], PORT), HOST_TO_HOST_PORT: (host, HOST[version], PORT),
        NEIGHBOUR: (neighbour, address, 80), NEIGHBOUR_TO_HOST_PORT: (neighbour, HOST[version], PORT),
        HAIRPIN: (server, HOST[version], PORT), OTHER: (other, address, 80),
        OTHER_TO_HOST_PORT: (other, HOST[version], PORT), OUT: (server, OUTSIDE[version], 7001),
    }
    assert set(ways) == WAYS
    expected = kind.open - NOT_ON_IPV6 if version == 6 else kind.open
    with the_outside_host_knows_the_way(version, name), listener(server, everywhere, 80), \
            listener(server, everywhere, 81), listener(outside, everywhere, 7001):
        found: set[str] = set()
        for _ in range(12):  # a first packet may be lost while neighbours ask for each other
            left = sorted(WAYS - found)
            answers = await asyncio.gather(*(connects(*ways[way]) for way in left))
            found |= {way for way, answer in zip(left, answers, strict=True) if answer}
            if found >= expected:
                break
    assert found == expected
