"""Fixtures of imaged's service tests."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service.imaged.served import Served, serving


@pytest.fixture
async def imaged(tmp_path: Path) -> AsyncIterator[Served]:
    """A fresh imaged."""
    async with serving(tmp_path) as served:
        yield served
    # An error that a test looked at holds its frames, and these the channel's descriptors.
    gc.collect()
