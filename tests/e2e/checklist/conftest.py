"""The engine's socket for tests that mind every byte."""

import pytest

from tests.e2e.wire import Wire


@pytest.fixture
def wire(engine):
    return Wire(engine.instance.api_socket)
