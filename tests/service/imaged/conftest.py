"""Fixtures of imaged's service tests."""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests import leaks
from tests.service.imaged.layers import Bench
from tests.service.imaged.served import Served, serving, shared

# Those of gRPC and of event loops in this process come and go as gRPC likes.
leaks.register_baseline(lambda: [
    leaks.Kept("descriptors", rf"{os.getpid()} .*: anon_inode:\[event(fd|poll)\]")
])


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[Served]:
    """An imaged of the test's own."""
    async with serving(tmp_path) as served:
        yield served
    # An error that a test looked at holds its frames, and these the channel's descriptors.
    gc.collect()


@pytest.fixture
def imaged(fresh: Served) -> Served:
    return fresh


@pytest.fixture(scope="module")
def _one_imaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with shared(tmp_path_factory.mktemp("imaged")) as served:
        yield served


@pytest.fixture
async def snapshots(_one_imaged: Served) -> AsyncIterator[Served]:
    """An imaged that the tests of a module share; each leaves no snapshot and no image behind."""
    served = _one_imaged
    served.connect()
    yield served
    await served.clear()
    await served.disconnect()
    gc.collect()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A store of layers beside a file that no layer reaches."""
    canary = tmp_path / "canary"
    canary.write_bytes(b"intact")
    canary.chmod(0o640)
    fds = len(os.listdir("/proc/self/fd"))
    mounts = Path("/proc/self/mountinfo").read_bytes()
    found = Bench(tmp_path / "store")
    try:
        yield found
    finally:
        await found.unpacker.close()
    assert canary.read_bytes() == b"intact"
    assert stat.S_IMODE(canary.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["canary", "store"]
    assert Path("/proc/self/mountinfo").read_bytes() == mounts
    # Fewer is no leak: an earlier test's channel may have been closed by its library only now.
    assert len(os.listdir("/proc/self/fd")) <= fds
