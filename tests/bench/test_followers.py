"""Many idle followers of events, logs and output, and starts at once among them; readers that do not read."""

import os
import statistics
import threading
import time

import pytest

from tests.e2e.wire import Connection, Wire
from tests.engine import wait_until

pytestmark = pytest.mark.bench

FOLLOWERS = int(os.environ.get("PIER_BENCH_FOLLOWERS", "1000"))
STARTS = int(os.environ.get("PIER_BENCH_STARTS", "50"))
SLOW = 20
GROWTH = 64 << 20  # bytes that the gateway may grow by while SLOW clients do not read
OUTPUT = 40 << 20  # bytes that each of them is sent


@pytest.fixture
def wire(engine):
    yield Wire(engine.instance.api_socket)
    engine.remove_everything()


def memory(engine):
    """Bytes of the gateway's own."""
    with open(f"/proc/{engine.pid('gateway')}/smaps_rollup", encoding="ascii") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) << 10


def follow(wire, path, method="GET"):
    connection = Connection(wire.path)
    connection.request(f"{method} {path}", upgrade=method == "POST")
    assert connection.head().status == (101 if method == "POST" else 200)
    return connection


def test_starts_among_idle_followers(engine, wire):
    alone = starts(wire, "alone")
    talker = wire.run("sleep 1000", "talker", StopSignal="KILL")
    before = memory(engine)
    began = time.perf_counter()
    kinds = (("/events", "GET"), (f"/containers/{talker}/logs?follow=1&stdout=1", "GET"),
             (f"/containers/{talker}/attach?stream=1&stdout=1", "POST"))
    followers = [follow(wire, *kinds[number % len(kinds)]) for number in range(FOLLOWERS)]
    print(f"\n{FOLLOWERS} followers of events, logs and attached, in {time.perf_counter() - began:.1f} s, "
          f"{(memory(engine) - before) / FOLLOWERS / 1024:.0f} KiB of the gateway's each")
    report("alone", alone)
    report("among them", starts(wire, "among"))
    pings = [seconds(lambda: wire.call("GET", "/_ping")) for _ in range(50)]
    print(f"  a ping {statistics.median(pings) * 1000:.2f} ms")
    for connection in followers:
        connection.close()
    in_flight = "pier_http_requests_in_flight"
    wait_until(lambda: engine.metric("gateway", in_flight) == 0, 60, "nothing of them is left")


def starts(wire, name):
    """Seconds that each of STARTS creates and starts took, all at once."""
    took: list[float] = []

    def one(number):
        id_ = wire.create(f"{name}{number}", Cmd=["sleep", "1000"], StopSignal="KILL")
        took.append(seconds(lambda: wire.post(f"/containers/{id_}/start")))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(STARTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took) == STARTS
    return took


def seconds(action):
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def report(title, times):
    tenths = statistics.quantiles(times, n=10)
    print(f"  {STARTS} starts at once, {title}: median {statistics.median(times) * 1000:.0f} ms, "
          f"p90 {tenths[-1] * 1000:.0f}, most {max(times) * 1000:.0f}")


def test_readers_that_do_not_read_cost_no_memory(engine, wire):
    id_ = wire.run(f"yes {'x' * 1000} | head -c {OUTPUT}", "loud", HostConfig={
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "-1"}}})
    wire.post(f"/containers/{id_}/wait")
    path = f"/containers/{id_}/logs?stdout=1"
    before = memory(engine)
    readers = [follow(wire, path) for _ in range(SLOW)]
    readers += [follow(wire, f"/containers/{id_}/export") for _ in range(2)]
    most = 0
    for _ in range(100):
        most = max(most, memory(engine) - before)
    print(f"\n{SLOW} readers that do not read: the gateway grew by {most >> 20} MiB at most")
    assert most < GROWTH
    for connection in readers:
        connection.close()
