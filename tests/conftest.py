"""What every test has around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.leaks import nothing_left
from tests.registry import registry

__all__ = ["nothing_left", "registry"]


def pytest_configure(config: pytest.Config) -> None:
    """A worker of pytest-xdist is told a directory that its controller made outside: in a world /tmp is another."""
    if hasattr(config, "workerinput"):
        Path(config.option.basetemp).parent.mkdir(parents=True, exist_ok=True)
