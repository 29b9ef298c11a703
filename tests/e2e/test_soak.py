"""Thousands of lives and commands: what the engine holds afterwards is what it held before. PIER_SOAK says how many."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import docker
import pytest

from tests.engine import PROGRAMS, wait_until

pytestmark = pytest.mark.soak

COUNT = int(os.environ.get("PIER_SOAK", "10000"))
WARM_UP = 100
AT_ONCE = 4
GROWTH = 24 << 20
"""Bytes that a program's resident memory may grow by from the warm-up on, whatever the count."""


class Figures(NamedTuple):
    descriptors: int
    mounts: int
    namespaces: int
    cgroups: int
    processes: int


def figures(engine):
    return Figures(
        sum(len(os.listdir(f"/proc/{engine.pid(name)}/fd")) for name in PROGRAMS),
        len(Path("/proc/self/mountinfo").read_text().splitlines()),
        sum(1 for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - nsfs " in line),
        sum(1 for _ in Path("/sys/fs/cgroup").glob(f"*/{engine.instance.cgroup_parent}/**/")),
        sum(1 for entry in os.listdir("/proc") if entry.isdigit()),
    )


def resident(engine):
    def of(name):
        status = Path(f"/proc/{engine.pid(name)}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) << 10

    return {name: of(name) for name in PROGRAMS}


def flat(engine, work, title):
    """Do ``work(number)`` often; what the engine holds, and how much memory, is as it was after the warm-up."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, range(WARM_UP)))
        wait_until(lambda: figures(engine) == figures(engine), what="it is at rest")
        before, memory = figures(engine), resident(engine)
        list(pool.map(work, range(COUNT)))
    wait_until(lambda: all(new <= old + 4 for new, old in zip(figures(engine), before, strict=True)), 30.0,
               f"what is held is as before: {before}, {figures(engine)}")
    after, grown = figures(engine), resident(engine)
    print(f"\n{COUNT} {title}")
    for name, old, new in zip(Figures._fields, before, after, strict=True):
        print(f"  {name:<14}{old:>8} → {new}")
    for name, size in memory.items():
        print(f"  {name + ' RSS':<14}{size >> 10:>8} → {grown[name] >> 10} KiB")
    assert all(grown[name] - size < GROWTH for name, size in memory.items()), (memory, grown)


@pytest.fixture
def api(engine):
    with docker.APIClient(base_url=engine.host, version="auto", timeout=120) as client:
        yield client


def test_many_lives_leave_nothing(engine, api):
    def life(_number):
        id_ = api.create_container("busybox", ["true"])["Id"]
        api.start(id_)
        api.remove_container(id_, force=True)

    flat(engine, life, "lives: create, start, remove")


def test_many_commands_leave_nothing(engine, api):
    engine.ok("run", "-d", "--name", "busy", "busybox", "sleep", "100000")

    def command(number):
        id_ = api.exec_create("busy", ["echo", str(number)])["Id"]
        assert api.exec_start(id_) == f"{number}\n".encode()
        assert api.exec_inspect(id_)["ExitCode"] == 0

    flat(engine, command, "commands in one container")
