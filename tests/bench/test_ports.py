"""10,000 published ports: what one more costs, what a connection costs, and how soon a flushed ruleset is back."""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pier.network.v1 import network_pb2 as net
from tests import world
from tests.service.netd.engine import Netd, run, tcp
from tests.service.netd.packets import in_namespace, listener, reach
from tests.service.netd.test_service import OUTSIDE, path_of

pytestmark = pytest.mark.bench

PORTS = 10_000
EACH = 1000
FIRST = 20_000
ROUNDS = 30


@pytest.fixture
async def netd(tmp_path: Path) -> AsyncIterator[Netd]:
    made = Netd("nb", tmp_path / "netd.log")
    await made.start()
    yield made
    await made.clean_up()


async def one_more(netd: Netd) -> float:
    """Milliseconds to publish a port of a running sandbox, and to withdraw it: the median of both together, halved."""
    taken = []
    for number in range(ROUNDS):
        began = time.perf_counter()
        await netd.set_ports(1, tcp(18080), tcp(18081 + number))
        await netd.set_ports(1, tcp(18080))
        taken.append((time.perf_counter() - began) * 500)
    return statistics.median(taken)


async def attach_one(netd: Netd) -> float:
    """Milliseconds to attach a sandbox with one port, the median."""
    taken = []
    for number in range(900, 900 + ROUNDS):
        await netd.create(number)
        began = time.perf_counter()
        await netd.attach(number, ports=[tcp(18200)])
        taken.append((time.perf_counter() - began) * 1000)
        await netd.remove(number)
    return statistics.median(taken)


def connected(server: net.Sandbox) -> float:
    """Milliseconds of a connection to a published port, with an answer, the median."""
    taken = []
    with listener(in_namespace(path_of(server)), "0.0.0.0", 80) as sock:
        for _ in range(ROUNDS * 4):
            began = time.perf_counter()
            assert reach(OUTSIDE, world.ADDRESS, 18080, sock) is not None
            taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def connects() -> bool:
    """Is a connection there within 20 ms?"""
    with OUTSIDE(socket.SOCK_STREAM) as client:
        client.settimeout(0.02)
        return client.connect_ex((world.ADDRESS, 18080)) == 0


async def test_one_more_of_ten_thousand_ports_costs_what_the_first_did(netd: Netd) -> None:
    server = await netd.create(1)
    await netd.attach(1, ports=[tcp(18080)])
    figures = []

    async def measure(count: int) -> None:
        figures.append((count, await one_more(netd), await attach_one(netd),
                        await asyncio.to_thread(connected, server)))

    await measure(1)
    began = time.perf_counter()
    for index in range(PORTS // EACH):
        await netd.create(100 + index)
        first = FIRST + index * EACH
        await netd.attach(100 + index, ports=[tcp(number) for number in range(first, first + EACH)])
        if index == PORTS // EACH // 2 - 1:
            await measure(PORTS // 2)
    filled = time.perf_counter() - began
    await measure(PORTS)
    for count, more, attach, connect in figures:
        print(f"\n{count:>6} ports: one more {more:.2f} ms, attach with one {attach:.2f}, a connection {connect:.3f}")
    status = Path(f"/proc/{netd.pid}/status").read_text()
    memory = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    began = time.perf_counter()
    run("nft", "flush ruleset")
    with listener(in_namespace(path_of(server)), "0.0.0.0", 80) as sock:
        while not await asyncio.to_thread(connects):
            assert sock.fileno() >= 0
    repaired = time.perf_counter() - began
    began = time.perf_counter()
    await netd.kill()
    await netd.start()
    adopted = time.perf_counter() - began
    print(f"published in {filled:.1f} s; a flushed ruleset is back after {repaired:.2f} s; a restart takes "
          f"{adopted:.2f} s; netd holds {int(memory) // 1024} MB")
    assert await netd.fsck() == []
    (_, first_more, first_attach, first_connect), *_, (_, more, attach, connect) = figures
    assert more < 2 * first_more + 1
    assert attach < 2 * first_attach + 1
    assert connect < 2 * first_connect + 0.2
    assert repaired < 1
