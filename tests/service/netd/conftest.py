"""What the tests of netd have around them."""

from __future__ import annotations

import gc
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.service.netd.engine import Netd


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
def free_port() -> int:
    """A TCP port that nothing has."""
    with socket.socket() as sock:
        sock.bind(("", 0))
        return int(sock.getsockname()[1])
