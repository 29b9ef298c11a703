"""A docker command of today, which calls the classic builder deprecated, builds with it all the same."""

import json
import time

import pytest

from tests import tools


@pytest.fixture
def todays(engine):
    """That command: its output, where it succeeds."""
    if tools.newest_docker() == tools.program("docker"):
        pytest.skip("there is no newer docker than this Debian's: `make test` brings it where it runs")

    def run(*arguments):
        done = engine.run([*engine.argv("todays-docker"), *arguments])
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.rstrip("\n")

    return run


def test_a_build_its_cache_and_what_it_takes_on_the_disk(engine, builder, todays):
    builder.write("Dockerfile", "FROM busybox\nARG A=b\nRUN echo $A >/made\nCMD cat /made\n")
    built = todays("build", "-t", "todays", "--build-arg", "A=c", str(builder.directory))
    assert "Successfully tagged todays:latest" in built
    assert "Using cache" in todays("build", "--build-arg", "A=c", str(builder.directory))
    assert todays("run", "--rm", "todays") == "c"
    kinds = [json.loads(line) for line in todays("system", "df", "--format", "json").splitlines()]
    assert {kind["Type"]: int(kind["TotalCount"]) > 0 for kind in kinds} == {
        "Images": True, "Containers": False, "Local Volumes": False, "Build Cache": True}
    assert "todays" in todays("system", "df", "-v")
    soon = str(int(time.time()) + 1)  # the command sends whole seconds
    events = todays("events", "--since", "1m", "--until", soon, "-f", "image=todays", "--format", "{{.Action}}")
    assert "tag" in events.split()
    todays("rmi", "todays")
    todays("builder", "prune", "-f", "-a")
    engine.ok("image", "prune", "-f")
