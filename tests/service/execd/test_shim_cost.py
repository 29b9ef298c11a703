"""What a shim costs: memory, wake-ups, time."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import pytest

from tests.service.execd.driver import Engine


def memory(pid: int, kind: str) -> int:
    """A line of smaps_rollup in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{kind}:")).split()[1])


def switches(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


def rests(pid: int) -> None:
    """Within some looks there is a second in which it wakes for nothing: what polls has none."""
    woken = []
    for _ in range(20):
        before = switches(pid)
        time.sleep(1.0)  # a rate needs a stretch of time to be measured over
        woken.append(switches(pid) - before)
        if woken[-1] <= 1:
            return
    raise AssertionError(f"it woke, each second, so often: {woken}")


def test_a_shim_with_attach_and_an_exec_behind_it_is_small_and_wakes_for_nothing(engine: Engine, capsys) -> None:
    shim = engine.shim(stdin=True)
    client = shim.attach()
    shim.run("/bin/cat")
    shim.exec("/bin/echo", "x")[1].read_all()
    client.send(b"x" * 100000)
    client.take(100000)
    rests(shim.pid)
    # What one more shim costs. PSS falls towards it with each shim that shares the zygote's pages.
    own = memory(shim.pid, "Private_Dirty") + memory(shim.pid, "Private_Clean")
    with capsys.disabled():
        print(f" a shim's own {own} KiB; PSS with one: {memory(shim.pid, 'Pss')}, "
              f"its zygote's {memory(engine.zygote.pid, 'Pss')}", end="")
    assert own <= 2560
    client.half_close()
    shim.wait()
    shim.release()


def test_a_full_pipe_to_a_client_that_does_not_read_costs_no_time(engine: Engine) -> None:
    shim = engine.shim(log={"driver": "none"})
    client = shim.attach(stdin=False)
    shim.run("/bin/sh", "-c", "dd if=/dev/zero bs=1M count=8 2>/dev/null")
    rests(shim.pid)
    client.read_all()
    shim.wait()
    shim.release()


@pytest.mark.bench
def test_the_path_from_fork_to_pid(engine: Engine, capsys) -> None:
    spawn: list[float] = []
    start: list[float] = []
    release: list[float] = []
    steps: dict[str, list[float]] = {}
    for _ in range(int(os.environ.get("PIER_STARTS", "30"))):
        begun = time.perf_counter()
        shim = engine.shim()
        forked = time.perf_counter()
        answer = shim.run("/bin/true")
        spawn.append(forked - begun)
        start.append(time.perf_counter() - forked)
        for name, _, duration in answer["steps"]:
            steps.setdefault(name, []).append(duration / 1e9)
        shim.wait()
        ended = time.perf_counter()
        shim.release()
        release.append(time.perf_counter() - ended)
    with capsys.disabled():
        whole = (("fork to answer", spawn), ("run (with writing the bundle)", start), ("release", release))
        for name, values in (*whole, *steps.items()):
            print(f"\n{name}: median {statistics.median(values) * 1e3:.2f} ms, least {min(values) * 1e3:.2f}", end="")
