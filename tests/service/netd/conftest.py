"""Every test here runs in a world, and leaves it as it was."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from netd import links
from netd.netlink import NetlinkSocket
from netd.nft import Nft
from tests import world
from tests.service.netd.engine import Netd


@pytest.fixture(autouse=True)
def leaves_the_world_as_it_was() -> Iterator[None]:
    """Links, tables, mounts and the host's forwarding are afterwards what they were before."""
    if not world.inside():
        pytest.skip("needs a world: python -m tests.world")
    before = _inventory()
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    forwarded = forwarding.read_text()
    yield
    forwarding.write_text(forwarded)
    assert _inventory() == before


def _inventory() -> dict[str, list[str]]:
    nft = Nft()
    try:
        with NetlinkSocket() as sock:
            return {
                "links": sorted(link.name for link in links.all_links(sock)),
                "addresses": sorted(str(address.address) for address in links.addresses(sock)),
                "tables": sorted(str(item["table"]["name"]) for item in nft.list("tables") if "table" in item),
                "mounts": sorted(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
            }
    finally:
        nft.close()


@pytest.fixture
async def netd(tmp_path: Path) -> AsyncIterator[Netd]:
    """A netd that serves."""
    made = Netd("nt", tmp_path / "netd.log")
    await made.start()
    yield made
    await made.clean_up()


@pytest.fixture
def free_port() -> int:
    """A TCP port that nothing has."""
    with socket.socket() as sock:
        sock.bind(("", 0))
        return int(sock.getsockname()[1])
