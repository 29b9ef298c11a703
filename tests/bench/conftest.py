"""One quiet engine for the measurements, and docker.io beside it."""

import pytest

from tests.e2e.beside import dockerd
from tests.engine import running


@pytest.fixture(scope="package")
def engine(tmp_path_factory):
    with running("bench", tmp_path_factory.mktemp("engine")) as engine:
        engine.load_busybox()
        yield engine


@pytest.fixture(scope="package")
def engines(engine, tmp_path_factory):
    """{"pier": engine, "docker": a dockerd with overlay2, as on any host}."""
    if reason := dockerd.missing():
        pytest.skip(reason)
    with dockerd.running(tmp_path_factory.mktemp("dockerd"), storage="overlay2") as docker:
        yield {"pier": engine, "docker": docker}
