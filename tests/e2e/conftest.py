"""One engine for this directory's tests, and each of the two commands against it."""

import pytest

from tests import tools
from tests.engine import running

TODAYS_TOO = pytest.mark.parametrize("client", ["docker", "todays-docker", "pier"], indirect=True)
"""A test of this mark is done by a docker command of today, too: where this Debian's is older, there are two."""


@pytest.fixture(scope="package")
def engine(tmp_path_factory):
    directory = tmp_path_factory.mktemp("engine")
    (directory / "pier.toml").touch()
    with running("e2e", directory, PIER_CONFIG=str(directory / "pier.toml")) as engine:
        engine.load_busybox()
        yield engine


@pytest.fixture(params=["docker", "pier"])
def client(request, engine):
    """The command under test."""
    if request.param == "todays-docker" and tools.newest_docker() == tools.program("docker"):
        pytest.skip("there is no newer docker than this Debian's: `make test` brings it where it runs")
    return Client(engine, request.param)


class Client:
    """One of the commands: ``run(*arguments)`` completes, ``ok`` succeeds, ``start`` gives a Popen."""

    def __init__(self, engine, name):
        self.engine = engine
        self.name = name
        self.argv = engine.argv(name)

    def run(self, *arguments, **options):
        return self.engine.run([*self.argv, *arguments], **options)

    def ok(self, *arguments, **options):
        done = self.run(*arguments, **options)
        assert done.returncode == 0, f"{self.name} {' '.join(arguments)}: {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout.rstrip("\n") if isinstance(done.stdout, str) else done.stdout

    def start(self, *arguments, **options):
        return self.engine.start([*self.argv, *arguments], **options)


@pytest.fixture(autouse=True)
def no_containers_left(engine):
    yield
    engine.remove_everything()
