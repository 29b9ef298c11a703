"""What every test has around it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

from tests.leaks import nothing_left
from tests.registry import registry

__all__ = ["nothing_left", "registry"]

_MORE_EXAMPLES = int(os.environ.get("PIER_TEST_EXAMPLES", "1"))


def pytest_configure(config: pytest.Config) -> None:
    """A worker of pytest-xdist is told a directory that its controller made outside: in a world /tmp is another."""
    if hasattr(config, "workerinput"):
        Path(config.option.basetemp).parent.mkdir(parents=True, exist_ok=True)
    # An example's time is the machine's: others work beside. A commit's run tries the same examples each time: what is
    # found by chance is found by `make fuzz`, where it stops nobody.
    settings.register_profile("pier", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
    settings.register_profile("fuzz", settings.get_profile("pier"), derandomize=False, print_blob=True)
    settings.load_profile("fuzz" if _MORE_EXAMPLES > 1 else "pier")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With PIER_TEST_EXAMPLES=N the property tests alone, each with N times as many examples, at random."""
    if _MORE_EXAMPLES <= 1:
        return
    properties = [item for item in items if isinstance(item, pytest.Function) and is_hypothesis_test(item.obj)]
    for test in {getattr(item.obj, "__func__", item.obj) for item in properties}:
        # No public name says it: `settings` decorates a test once only.
        own = getattr(test, "_hypothesis_internal_use_settings", settings())
        test._hypothesis_internal_use_settings = settings(own, max_examples=own.max_examples * _MORE_EXAMPLES)
    config.hook.pytest_deselected(items=[item for item in items if item not in set(properties)])
    items[:] = properties
