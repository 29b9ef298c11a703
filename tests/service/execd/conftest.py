"""Fixtures: an engine of the test's own, and the proof that it leaves nothing."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests import leaks
from tests.service.execd.driver import TIMEOUT, Engine
from tests.service.execd.service import Execd, execd

CGROUPS = Path("/sys/fs/cgroup")


# gRPC and the event loop keep descriptors of their own for the life of this process, made as they are needed; a socket
# that a test forgets is a ResourceWarning, and so an error.
leaks.register_baseline(lambda: [
    leaks.Kept("descriptors", rf"{os.getpid()} .*: (anon_inode:\[event(fd|poll)\]|socket)")
])


def shim_pids() -> set[int]:
    pids = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "comm").read_text().strip() in ("pier-shim", "pier-zygote") and (
                    "State:\tZ" not in (entry / "status").read_text()
                ):
                    pids.add(int(entry.name))
            except OSError:
                continue
    return pids


def shims_left(before: set[int]) -> set[int]:
    """Those that are there after what a killed zygote's spare and a released shim need to end."""
    deadline = time.monotonic() + TIMEOUT
    while (left := shim_pids() - before) and time.monotonic() < deadline:
        time.sleep(0.005)
    return left


def cgroups_of(name: str) -> list[Path]:
    return [path for path in CGROUPS.glob(f"*/{name}") if path.is_dir()]


def remove_cgroups(name: str) -> None:
    """Remove the engine's own cgroups; fails where a container's is left."""
    deadline = time.monotonic() + TIMEOUT
    for top in cgroups_of(name):
        for path in (top / "shims", top):
            while path.exists():
                try:
                    path.rmdir()
                except OSError:
                    assert time.monotonic() < deadline, f"{path} holds {[p.name for p in path.iterdir() if p.is_dir()]}"
                    time.sleep(0.005)


@pytest.fixture
def engine() -> Iterator[Engine]:
    before = shim_pids()
    mounts = len(Path("/proc/self/mountinfo").read_text().splitlines())
    fds = len(os.listdir("/proc/self/fd"))
    base = Path(tempfile.mkdtemp(prefix="pier-x-", dir="/run"))
    engine = Engine(base, f"pier-x{os.getpid()}")
    try:
        yield engine
    finally:
        for shim in engine.shims:
            shim.close()
        engine.close()
        left = shims_left(before)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(base)
    assert not left, "shims were left"
    remove_cgroups(engine.cgroup)
    assert len(Path("/proc/self/mountinfo").read_text().splitlines()) == mounts
    assert len(os.listdir("/proc/self/fd")) <= fds


@pytest.fixture
async def service(request: pytest.FixtureRequest) -> AsyncIterator[Execd]:
    """A running execd of the test's own; afterwards nothing of it is left."""
    before = shim_pids()
    mounts = len(Path("/proc/self/mountinfo").read_text().splitlines())
    name = f"x{os.getpid()}"
    base: Path | None = None
    try:
        async with execd(name) as running:
            base = running.base
            yield running
    finally:
        left = shims_left(before)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        if base is not None:
            keep = os.environ.get("PIER_KEEP")
            if keep:
                shutil.copy(base / "execd.log", keep)
            shutil.rmtree(base)
    assert not left, "shims were left"
    remove_cgroups(running.instance.cgroup_parent)
    assert len(Path("/proc/self/mountinfo").read_text().splitlines()) == mounts
