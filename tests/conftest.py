"""What every test has around it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.leaks import nothing_left
from tests.registry import registry

__all__ = ["nothing_left", "registry"]


def pytest_configure(config: pytest.Config) -> None:
    """A worker of pytest-xdist is told a directory that its controller made outside: in a world /tmp is another."""
    if hasattr(config, "workerinput"):
        Path(config.option.basetemp).parent.mkdir(parents=True, exist_ok=True)
    # An example's time is the machine's: others work beside.
    settings.register_profile("pier", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("pier")
