"""What the tests of netd have around them."""

from __future__ import annotations

import gc
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from netd import bridge, links, netns
from netd.netlink import NetlinkSocket
from netd.nft import Nft
from netd.table import Table
from tests.service.netd.engine import Netd
from tests.service.netd.lab import Lab


@pytest.fixture(autouse=True)
def forwards_as_before() -> Iterator[None]:
    """netd leaves the host's forwarding on, and its links listening to routers; a test does not."""
    switches = [Path("/proc/sys/net/ipv4/ip_forward"), Path("/proc/sys/net/ipv6/conf/all/forwarding"),
                Path("/proc/sys/net/ipv6/conf/eth0/accept_ra")]
    before = [switch.read_text() for switch in switches]
    yield
    for switch, value in zip(switches, before, strict=True):
        if switch.read_text() != value:
            switch.write_text(value)


@pytest.fixture
async def netd(tmp_path: Path) -> AsyncIterator[Netd]:
    """A netd that serves."""
    made = Netd("nt", tmp_path / "netd.log")
    await made.start()
    yield made
    await made.clean_up()
    # An error that a test looked at holds its frames, and these the channel's descriptors.
    gc.collect()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    sock = NetlinkSocket()
    nft = Nft()
    made = Lab(tmp_path, sock, nft, Table(nft, "pier-test"))
    for version in (4, 6):
        bridge.enable_forwarding(version)
    made.table.load([], [])
    made.add_network("pt0", "10.77.0.0/24", "fd77:0::/64")
    made.add_network("pt1", "10.77.1.0/24", "fd77:1::/64")
    made.add_network("ptint", "10.77.2.0/24", "fd77:2::/64", routed=False)
    yield made
    for container in made.containers:
        netns.unpin(container.path)
    for link in made.subnets:
        bridge.delete(sock, link, f"test {link}")
    made.table.remove()
    nft.close()
    while any(link.name.startswith("pvtest") for link in links.all_links(sock)):
        pass
    sock.close()


@pytest.fixture
def free_port() -> int:
    """A TCP port that nothing has."""
    with socket.socket() as sock:
        sock.bind(("", 0))
        return int(sock.getsockname()[1])
