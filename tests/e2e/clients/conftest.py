"""What the clients of this directory need around them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.busybox_image import Image, docker_archive
from tests import tools
from tests.e2e.builds import machine
from tests.images import busybox

REDIS = "redis:test"


@pytest.fixture(scope="session")
def compose():
    """The program docker-compose, which a Python package carries."""
    found = shutil.which("docker-compose", path=str(Path(sys.executable).parent)) or shutil.which("docker-compose")
    assert found, "docker-compose is not here: requirements-dev.txt names the package that brings it"
    return found


@pytest.fixture(scope="module")
def redis(engine, tmp_path_factory):
    """An image with Debian's redis on busybox; its name."""
    target = tmp_path_factory.mktemp("redis") / "redis.tar"
    machine.write(target, [tools.program("redis-server"), tools.program("redis-cli")], [], bool)
    image = Image([*busybox().layers, target.read_bytes()], config={
        "Cmd": ["redis-server", "--protected-mode", "no", "--save", ""], "ExposedPorts": {"6379/tcp": {}},
        "Env": ["PATH=/usr/bin:/bin"],
    })
    done: subprocess.CompletedProcess[bytes] = engine.docker("load", input=docker_archive({REDIS: image}), text=False)
    assert done.returncode == 0, done.stderr
    yield REDIS
    engine.ok("rmi", "-f", REDIS)
