"""One quiet engine for the measurements."""

import pytest

from tests.engine import running


@pytest.fixture(scope="package")
def engine(tmp_path_factory):
    with running("bench", tmp_path_factory.mktemp("engine")) as engine:
        engine.load_busybox()
        yield engine
