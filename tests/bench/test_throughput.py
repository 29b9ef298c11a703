"""Traffic between containers, and to a published port, beside a plain veth pair in the same run."""

from __future__ import annotations

import functools
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from netd import links, netns
from netd.wiring import Wire, set_up
from tests import world
from tests.bench import throughput
from tests.service.netd.engine import Netd, tcp
from tests.service.netd.packets import SocketMaker, in_namespace, on_host
from tests.service.netd.test_service import OUTSIDE, path_of

pytestmark = pytest.mark.bench

SECONDS = 2.0
ROUNDS = 3
ROUND_TRIPS = 2000
AT_LEAST = 0.7
"""Of a plain pair's: a bridge and the table stand in between."""


@pytest.fixture
async def netd(tmp_path: Path) -> AsyncIterator[Netd]:
    made = Netd("nb", tmp_path / "netd.log", quiet=True)
    await made.start()
    yield made
    await made.clean_up()


@contextmanager
def plain_pair(directory: Path) -> Iterator[tuple[Path, Path]]:
    """Two namespaces with nothing but a veth pair between them: 10.99.0.1 and 10.99.0.2."""
    (one, inner), (two, other) = netns.make(directory), netns.make(directory)
    with inner, other:
        fd = netns.open_pin(two.path)
        inner.run([links.add_veth("eth0", "eth0", fd)])
        os.close(fd)
    for pin, number in ((one.path, 1), (two.path, 2)):
        wire = Wire("", "", "eth0", (IPv4Interface(f"10.99.0.{number}/24"),), "", ())
        netns.inside(pin, functools.partial(set_up, wire))
    yield one.path, two.path
    for pin in (one.path, two.path):
        netns.unpin(pin)


@contextmanager
def connected(client: SocketMaker, server: SocketMaker, at: str, host: str, port: int) -> Iterator[
    tuple[socket.socket, socket.socket]
]:
    """Both ends of a connection from ``client`` to ``host``:``port``, which leads to port 80 of ``at``."""
    with server(socket.SOCK_STREAM) as listening, client(socket.SOCK_STREAM) as near:
        listening.bind((at, 80))
        listening.listen()
        near.settimeout(10)
        near.connect((host, port))
        far, _ = listening.accept()
        with far:
            near.settimeout(None)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield near, far


def rate(near: socket.socket, far: socket.socket) -> float:
    """Gigabits a second from one end to the other, each by a process of its own."""
    program = [sys.executable, "-I", throughput.__file__]
    with subprocess.Popen([*program, "receive", str(far.fileno())], pass_fds=[far.fileno()],
                          stdout=subprocess.PIPE) as receiver:
        sender = subprocess.Popen([*program, "send", str(near.fileno()), str(SECONDS)], pass_fds=[near.fileno()])
        sender.wait()
        near.shutdown(socket.SHUT_WR)
        assert receiver.stdout is not None
        return float(receiver.stdout.read()) * 8 / 1e9


def round_trip(near: socket.socket, far: socket.socket) -> float:
    """Microseconds of a byte there and back, the median."""
    taken = []
    for _ in range(ROUND_TRIPS):
        began = time.perf_counter()
        near.send(b"x")
        far.recv(1)
        far.send(b"y")
        near.recv(1)
        taken.append((time.perf_counter() - began) * 1e6)
    return statistics.median(taken)


async def test_traffic_beside_a_plain_veth_pair(netd: Netd, tmp_path: Path) -> None:
    one, two = await netd.create(1), await netd.create(2)
    await netd.attach(1)
    there = (await netd.attach(2, ports=[tcp(18080)])).ipv4.partition("/")[0]
    inside = in_namespace(path_of(two))
    with plain_pair(tmp_path) as (left, right):
        ways = {
            "plain veth pair": (in_namespace(left), in_namespace(right), "10.99.0.2", 80),
            "container to container": (in_namespace(path_of(one)), inside, there, 80),
            "host to container": (on_host, inside, there, 80),
            "outside to a published port": (OUTSIDE, inside, world.ADDRESS, 18080),
            "host to a port at 127.0.0.1": (on_host, inside, "127.0.0.1", 18080),
        }
        figures = {}
        for name, (client, server, host, port) in ways.items():
            rates, trips = [], []
            for _ in range(ROUNDS):
                with connected(client, server, "0.0.0.0", host, port) as ends:
                    trips.append(round_trip(*ends))
                    rates.append(rate(*ends))
            figures[name] = statistics.median(rates), statistics.median(trips)
            print(f"\n{name}: {figures[name][0]:.1f} Gbit/s, {figures[name][1]:.0f} us there and back", end="")
    print()
    assert figures["container to container"][0] >= AT_LEAST * figures["plain veth pair"][0]
