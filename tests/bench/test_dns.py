"""Names answered inside a sandbox, beside dnsmasq in the same namespace."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import pytest

from netd.resolver.protocol import ADDRESS
from pier.network.v1 import network_pb2 as net
from tests import tools
from tests.service.netd.engine import Netd
from tests.service.netd.packets import in_namespace
from tests.service.netd.test_service import path_of

pytestmark = pytest.mark.bench

QUERIES = 20_000
GOAL = 10_000  # queries a second
PEER_PORT = 5353


@pytest.fixture
async def netd(tmp_path: Path) -> AsyncIterator[Netd]:
    made = Netd("nb", tmp_path / "netd.log")
    await made.start()
    yield made
    await made.clean_up()


def rate(make: Callable[[int], socket.socket], address: tuple[str, int], window: int) -> float:
    """Answers a second with so many questions under way."""
    query = dns.message.make_query("db.", "A").to_wire()
    with make(socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.connect(address)
        sent = got = 0
        began = time.perf_counter()
        while got < QUERIES:
            while sent - got < window and sent < QUERIES:
                sock.send(query)
                sent += 1
            assert dns.message.from_wire(sock.recv(512)).answer if not got else sock.recv(512)
            got += 1
        return QUERIES / (time.perf_counter() - began)


@contextmanager
def dnsmasq(pin: Path) -> Iterator[None]:
    """It answers for ``db`` inside the namespace."""
    peer = subprocess.Popen([
        "nsenter", f"--net={pin}", tools.program("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null",
        f"--port={PEER_PORT}", "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts",
        "--user=root", "--pid-file=", "--address=/db/10.9.9.9",
    ], stdin=subprocess.DEVNULL)
    time.sleep(0.5)  # nobody says when it listens
    try:
        yield
    finally:
        peer.terminate()
        peer.wait()


async def test_names_beside_dnsmasq(netd: Netd) -> None:
    await netd.create_network(7, "blue")
    made = await netd.create(1, names=["db"], attachments=[net.Attachment(network="blue")])
    inside = in_namespace(path_of(made))
    with dnsmasq(path_of(made)):
        for window in (1, 32):
            ours = rate(inside, (ADDRESS, 53), window)
            theirs = rate(inside, ("127.0.0.1", PEER_PORT), window)
            print(f"\n{window} under way: pier {ours:.0f}/s ({1e6 / ours:.0f} us each), dnsmasq {theirs:.0f}/s")
            assert window == 1 or ours >= GOAL
