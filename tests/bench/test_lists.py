"""Lists of many containers: `ps -a` over 100, 500 and 10,000, and that a long list holds up nobody else."""

import os
import secrets
import sqlite3
import statistics
import subprocess
import threading
import time

import pytest

from pier.exec.v1 import exec_pb2
from tests.e2e.wire import Wire
from tests.engine import running

pytestmark = pytest.mark.bench

COUNTS = [int(word) for word in os.environ.get("PIER_BENCH_CONTAINERS", "100 500 10000").split()]
ROUNDS = 15
LIMIT = 1.0  # seconds for the list of the most, and for the command that prints it
GOALS = {100: 21, 500: 47, 10000: 1000}
"""Milliseconds that `docker ps -a` may take: what docker.io's takes over as many, and a second for the most."""


@pytest.fixture(params=COUNTS)
def many(request, tmp_path):
    """An engine whose execd has that many records of containers, copies of one that was made."""
    with running("lists", tmp_path) as engine:
        engine.load_busybox()
        engine.ok("create", "--name", "first", "--label", "a=b", "busybox", "sleep", "1000")
        engine.down()
        with sqlite3.connect(engine.instance.root / "execd" / "execd.db") as store:
            multiply(store, request.param)
        store.close()
        engine.up()
        engine.wait_serving()
        yield engine, request.param
        engine.down()
        with sqlite3.connect(engine.instance.root / "execd" / "execd.db") as store:
            store.execute("DELETE FROM containers WHERE name != 'first'")
        store.close()
        engine.up()
        engine.wait_serving()


def multiply(store, count):
    """``count`` - 1 copies of the one record, each with an id, a name and a time of its own."""
    namespace, operation, body, fingerprint = store.execute(
        "SELECT namespace, operation, body, fingerprint FROM containers").fetchone()
    rows = []
    for number in range(1, count):
        made = exec_pb2.Container.FromString(body)
        made.id, made.name = secrets.token_hex(32), f"copy{number}"
        made.owner.id = made.id
        made.created_at.FromNanoseconds(made.created_at.ToNanoseconds() - number * 10**6)
        rows.append((made.id, namespace, made.name, fingerprint, operation, made.SerializeToString()))
    store.executemany(
        "INSERT INTO containers (id, namespace, name, fingerprint, operation, body) VALUES (?, ?, ?, ?, ?, ?)", rows)


def seconds(action):
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def test_a_list_is_quick_and_leaves_others_their_turn(many):
    engine, count = many
    wire = Wire(engine.instance.api_socket)
    first = seconds(lambda: wire.get("/containers/json?all=1"))
    assert len(wire.get("/containers/json?all=1")) == count
    lists = [seconds(lambda: wire.call("GET", "/containers/json?all=1")) for _ in range(ROUNDS)]
    commands = [seconds(lambda: subprocess.run(
        [*engine.argv("docker"), "ps", "-a"], env=engine.environment(), check=True, stdout=subprocess.DEVNULL))
        for _ in range(ROUNDS)]
    waits: list[float] = []
    done = threading.Event()

    def ping():
        while not done.is_set():
            waits.append(seconds(lambda: wire.call("GET", "/_ping")))

    other = threading.Thread(target=ping)
    other.start()
    for _ in range(3):
        wire.call("GET", "/containers/json?all=1")
    done.set()
    other.join()
    print(f"\n{count} containers: first list {first * 1000:.0f} ms, then {statistics.median(lists) * 1000:.1f}; "
          f"docker ps -a {statistics.median(commands) * 1000:.1f} ms (goal {GOALS.get(count, '-')}); "
          f"a ping beside it {max(waits) * 1000:.1f} ms at most")
    assert statistics.median(lists) < LIMIT
    assert statistics.median(commands) < LIMIT
