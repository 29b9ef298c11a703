"""One engine for this directory's tests, whose services take a fault from a file once."""

import pytest

from tests.engine import running


@pytest.fixture(scope="package")
def fault_file(tmp_path_factory):
    return tmp_path_factory.mktemp("fault") / "armed"


@pytest.fixture(scope="package")
def engine(tmp_path_factory, fault_file):
    with running("fault", tmp_path_factory.mktemp("engine"), PIER_FAULT=f"@{fault_file}") as engine:
        engine.load_busybox()
        yield engine


@pytest.fixture(autouse=True)
def no_containers_left(engine):
    yield
    engine.wait_serving()
    engine.remove_everything()
