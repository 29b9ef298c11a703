"""Fixtures of imaged's service tests."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests import leaks
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
