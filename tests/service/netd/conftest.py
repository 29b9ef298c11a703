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
    """netd leaves the host's forwarding on; a test does not."""
    switch = Path("/proc/sys/net/ipv4/ip_forward")
    before = switch.read_text()
    yield
    switch.write_text(before)


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
