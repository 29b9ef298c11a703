"""Images beside docker.io, in turns in one run, by the same docker command: pull, push, save and load of one of eight
large layers, and of one of 30,000 small files; and the memory that imaged takes for it.

The limits are the ratios to docker.io, and a size; seconds are printed for people.
"""

import os
import random
import statistics
import threading
import time
from pathlib import Path

import pytest

from deploy.busybox_image import Entry, Image, busybox_image, layer
from tests import registry
from tests.images import pack

pytestmark = pytest.mark.bench

ROUNDS = int(os.environ.get("PIER_BENCH_ROUNDS", "3"))
LAYERS, LAYER_BYTES = 8, 24 << 20
SMALL_FILES = 30_000
LIMITS = {"pull": 1.5, "push": 2.0, "save": 2.0, "load": 1.5}  # times docker.io's speed
MEMORY_LIMIT = 64 << 20  # bytes of PSS over idle


def large():
    """About 150 MB gzipped: three quarters are random."""
    dice = random.Random(1)
    tars = []
    for number in range(LAYERS):
        noise = dice.randbytes(LAYER_BYTES * 3 // 4)
        tars.append(layer([Entry(f"big/{number}", data=noise + b"x" * (LAYER_BYTES // 4))]))
    return Image([*busybox_image().layers, *tars])


def small():
    dice = random.Random(2)
    tars = []
    for part in range(3):
        files = [Entry(f"small/{part}/{number % 100}/{number}", data=dice.randbytes(dice.randrange(100, 4000)))
                 for number in range(SMALL_FILES // 3)]
        tars.append(layer(files))
    return Image([*busybox_image().layers, *tars])


@pytest.fixture(scope="module", params=[large, small], ids=["eight large layers", "30,000 small files"])
def served(request, tmp_path_factory):
    """The image's name in a registry."""
    with registry.running(tmp_path_factory.mktemp("registry")) as started:
        packed = pack(request.param())
        print(f"\n{sum(len(blob.data) for blob in packed.blobs) / 1e6:.0f} MB of blobs")
        started.push("measured", "1", packed)
        yield f"{started.host}/measured:1"


def seconds(engine, *words):
    began = time.perf_counter()
    done = engine.docker(*words, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - began


def pushed(engine, name, directory):
    """Seconds of a push to a registry that has nothing, of which no layer could be mounted."""
    directory.mkdir()
    with registry.running(directory) as empty:
        target = f"{empty.host}/measured:1"
        seconds(engine, "tag", name, target)
        taken = seconds(engine, "push", "-q", target)
        seconds(engine, "rmi", target)
    return taken


def test_transfers_beside_docker(engines, served, tmp_path):
    name = served
    archive = tmp_path / "image.tar"
    taken: dict[str, dict[str, list[float]]] = {verb: {each: [] for each in engines} for verb in LIMITS}
    for number in range(ROUNDS):
        for each, engine in engines.items():
            taken["pull"][each].append(seconds(engine, "pull", "-q", name))
            taken["push"][each].append(pushed(engine, name, tmp_path / f"{each}{number}"))
            taken["save"][each].append(seconds(engine, "save", "-o", str(archive), name))
            seconds(engine, "rmi", name)
            taken["load"][each].append(seconds(engine, "load", "-q", "-i", str(archive)))
            seconds(engine, "rmi", name)
    found = {verb: {each: statistics.median(times) for each, times in by.items()} for verb, by in taken.items()}
    for verb, by in found.items():
        print(f"\n{verb}: " + ", ".join(f"{each} {value:.2f} s" for each, value in by.items())
              + f", x {by['docker'] / by['pier']:.2f}", end="")
    print()
    assert {verb for verb, by in found.items() if by["docker"] / by["pier"] < LIMITS[verb]} == set()


def test_the_memory_of_a_pull_and_a_load(engine, served, tmp_path):
    name = served
    archive = tmp_path / "image.tar"
    for words in (("pull", "-q", name), ("save", "-o", str(archive), name), ("load", "-q", "-i", str(archive))):
        idle = memory(engine.pid("imaged"))
        with Peak(engine.pid("imaged")) as peak:
            seconds(engine, *words)
        print(f"\n{words[0]}: {(peak.bytes - idle) / (1 << 20):.0f} MiB over idle", end="")
        assert peak.bytes - idle <= MEMORY_LIMIT
        if words[0] == "save":
            seconds(engine, "rmi", name)
    print()
    seconds(engine, "rmi", name)


class Peak:
    """The most that imaged and its helpers have taken while the block ran, by looks."""

    def __init__(self, pid):
        self.bytes = 0
        self._pid, self._over = pid, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self):
        while not self._over.wait(0.02):
            self.bytes = max(self.bytes, memory(self._pid))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def memory(pid):
    """Bytes of PSS of a process and all below it; one that ends meanwhile counts for nothing."""
    total = 0
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
        tasks = Path(f"/proc/{pid}/task").iterdir()
        below = [word for task in tasks for word in (task / "children").read_text().split()]
    except (OSError, StopIteration):
        return total
    return total + sum(map(memory, below))
