"""What a stuck container costs the others: inspect, list, start, exec and logs beside one whose process the kernel does
not let go and one that somebody has frozen, while callers keep asking for both; and without them, in the same run.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import pytest

from execd.freezer import Freezer
from tests.engine import Engine, running, wait_until
from tests.service.execd.hung_mount import hung_mount

pytestmark = pytest.mark.bench

READS = int(os.environ.get("PIER_BENCH_READS", "300"))
STARTS = int(os.environ.get("PIER_BENCH_STARTS", "60"))
CALLERS = 2
"""Of each stuck container, all the time."""
AT_MOST = 2.0
"""Times the p99 without them."""
LINES = 1000
Samples = dict[str, list[float]]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Engine]:
    """An engine of its own: what is stuck ends in it."""
    with running("stuck", tmp_path) as engine:
        engine.load_busybox()
        yield engine


def client(engine: Engine) -> Any:
    return docker.APIClient(base_url=engine.host, version="1.43", timeout=300)


def timed(action: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def measured(engine: Engine) -> Samples:
    """The calls, in turns."""
    samples: Samples = {name: [] for name in ("inspect", "list", "logs", "start", "exec")}
    with client(engine) as api:
        for number in range(READS):
            samples["inspect"].append(timed(lambda: api.inspect_container("other")))
            samples["list"].append(timed(lambda: api.containers(all=True)))
            samples["logs"].append(timed(lambda: api.logs("other", tail=LINES)))
            if number < STARTS:
                made = api.create_container("busybox", ["sleep", "1000"])["Id"]
                samples["start"].append(timed(lambda made=made: api.start(made)))  # type: ignore[misc]
                exec_id = api.exec_create("other", ["true"])["Id"]
                samples["exec"].append(timed(lambda exec_id=exec_id: api.exec_start(exec_id)))  # type: ignore[misc]
                api.remove_container(made, force=True)
    return samples


def hundredth(times: list[float]) -> float:
    """p99."""
    return statistics.quantiles(times, n=100)[98]


@contextmanager
def asked_for(engine: Engine, signals: dict[str, str]) -> Iterator[list[str]]:
    """Callers that ask for the stuck ones without a pause, and send each its signal; what they were told is in the
    list."""
    told: list[str] = []
    done = threading.Event()

    def ask(name: str) -> None:
        with client(engine) as api:
            while not done.is_set():
                for call in (lambda: api.kill(name, signals[name]), lambda: api.top(name),
                             lambda: api.inspect_container(name), lambda: api.stats(name, stream=False)):
                    try:
                        call()
                    except (docker.errors.APIError, OSError) as error:
                        told.append(str(error))

    callers = [threading.Thread(target=ask, args=(name,)) for name in signals for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield told
    finally:
        done.set()
        for caller in callers:
            caller.join(60)


@contextmanager
def refrozen(engine: Engine, name: str) -> Iterator[None]:
    """Frozen again whenever a call about it has thawed it, as whoever does such a thing would."""
    freezer, done = Freezer(f"{engine.instance.cgroup_parent}/{engine.inspect(name)['Id']}"), threading.Event()

    def freeze() -> None:
        while not done.wait(0.05):
            with suppress(OSError):
                freezer.freeze()

    thread = threading.Thread(target=freeze)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with suppress(OSError):
            freezer.thaw()


def test_a_stuck_container_costs_the_others_nothing(alone: Engine, tmp_path: Path) -> None:
    engine = alone
    script = f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done; exec sleep 1000"
    engine.ok("run", "-d", "--name", "other", "busybox", "sh", "-c", script)
    measured(engine)  # warm
    before = measured(engine)
    hung = tmp_path / "hung"
    hung.mkdir()
    with hung_mount(hung) as caught:
        engine.ok("run", "-d", "--name", "stuck", "-v", f"{hung}:/hung", "busybox", "cat", "/hung/file")
        engine.ok("run", "-d", "--name", "frozen", "busybox", "sh", "-c", "trap : USR1; while :; do sleep 1; done")
        assert caught.wait(20)
        with refrozen(engine, "frozen"), asked_for(engine, {"stuck": "KILL", "frozen": "USR1"}) as told:
            beside = measured(engine)
        removed = engine.docker("rm", "-f", "stuck")
    wait_until(lambda: engine.docker("inspect", "stuck").returncode != 0, 30.0, "the stuck one is removed by itself")
    after = measured(engine)
    print(f"\n{READS} reads, {STARTS} starts and execs; ms without, and with the stuck ones\n"
          f"{'':<10}{'p50':>8}{'p99':>8}{'p50':>10}{'p99':>8}")
    for name, times in beside.items():
        without = before[name] + after[name]
        print(f"{name:<10}{statistics.median(without):8.1f}{hundredth(without):8.1f}"
              f"{statistics.median(times):10.1f}{hundredth(times):8.1f}")
    print(f"rm -f of the stuck one: {removed.stderr.strip() or 'removed'}")
    print(f"callers were told {len(told)} times, the last: {told[-1] if told else ''}")
    for name, times in beside.items():
        assert hundredth(times) <= AT_MOST * hundredth(before[name] + after[name]), name
