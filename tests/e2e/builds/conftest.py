"""An engine of this directory's own, and what a test builds with."""

import json

import pytest

from tests.engine import running


@pytest.fixture(scope="package")
def engine(tmp_path_factory):
    with running("e2eb", tmp_path_factory.mktemp("engine")) as engine:
        engine.load_busybox()
        yield engine


@pytest.fixture
def builder(engine, tmp_path):
    return Builder(engine, tmp_path / "context")


@pytest.fixture
def canary(tmp_path):
    """A directory of the host's that no build may see or change."""
    directory = tmp_path / "canary"
    directory.mkdir()
    (directory / "alive").write_text("canary")
    yield directory
    assert [path.name for path in directory.iterdir()] == ["alive"]
    assert (directory / "alive").read_text() == "canary"


class Builder:
    """A context directory, and the commands that build it."""

    def __init__(self, engine, directory):
        self.engine = engine
        self.directory = directory
        directory.mkdir()

    def write(self, path, content, mode=0o644):
        target = self.directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
        target.chmod(mode)
        return target

    def docker(self, *arguments, dockerfile=None, **options):
        """`docker build` by the classic builder, which the engine's own answers choose."""
        if dockerfile is not None:
            self.write("Dockerfile", dockerfile)
        return self.engine.docker("build", *arguments, str(self.directory), **options)

    def ok(self, *arguments, dockerfile=None, **options):
        done = self.docker(*arguments, dockerfile=dockerfile, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, image, *command):
        return self.engine.ok("run", "--rm", image, *command)

    def inspect(self, image):
        return json.loads(self.engine.ok("image", "inspect", image))[0]


@pytest.fixture(autouse=True)
def nothing_of_a_build_left(request, engine):
    """What a test has built goes when it is over. One that looks at what its module has built builds nothing."""
    yield
    if "built" not in request.fixturenames:
        forget(engine)


def forget(engine):
    """Every image but busybox goes, and what was built is forgotten."""
    engine.remove_everything()
    kept = engine.ok("images", "-q", "--no-trunc", "busybox:latest")
    for id_ in dict.fromkeys(engine.ok("images", "-aq", "--no-trunc").split()):
        if id_ != kept:
            engine.docker("rmi", "-f", id_)
    engine.ok("builder", "prune", "-af")


