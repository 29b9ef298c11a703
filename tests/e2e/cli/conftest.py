"""One engine, two commands: the real docker and pier.

``PIER_E2E_HOST`` names an engine that is up already (a dockerd, for one) as DOCKER_HOST does; ``PIER_E2E_IMAGE`` an
image that it can pull from a registry on loopback. Without them the engine is Pier's own, in the tests' world.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from deploy.busybox_image import busybox_image, docker_archive
from tests import tools, world
from tests.images import pack

IMAGE = "busybox:latest"


if os.environ.get("PIER_E2E_HOST"):

    @pytest.fixture(autouse=True)
    def nothing_left() -> None:
        """In place of the suite's own: the engine is a stranger's, and so is the world that it lives in."""

    @pytest.fixture(autouse=True)
    def no_containers_left() -> None:
        """In place of the directory's own: a stranger's engine has containers that are none of ours."""


@dataclass(frozen=True)
class Clients:
    """The commands, and the environment in which both find the same engine."""

    docker: str
    pier: str
    environment: dict[str, str]
    modern: bool
    """docker is of version 28 or later: pier's words are its words."""

    def run(self, program: str, words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        settings: dict[str, Any] = {"text": True, "capture_output": True, "timeout": 60, **options}
        if "input" not in settings:
            settings["stdin"] = subprocess.DEVNULL
        return subprocess.run([getattr(self, program), *words], env=self.environment, check=False, **settings)

    def ok(self, *words: str) -> str:
        done = self.run("docker", list(words))
        assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
        return done.stdout.strip()


@pytest.fixture(scope="package")
def host(request: pytest.FixtureRequest) -> str:
    """The address of the engine under test."""
    if given := os.environ.get("PIER_E2E_HOST"):
        return given
    if importlib.util.find_spec("gateway") is None:
        pytest.skip("no engine: this tree has no gateway, and PIER_E2E_HOST names none")
    if not world.inside():
        pytest.skip("not in a world: python -m tests.world -- python -m pytest …")
    address: str = request.getfixturevalue("engine").host
    return address


def _version(docker: str) -> int:
    """Major version of the docker command."""
    said = subprocess.run([docker, "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.removeprefix("Docker version ").partition(".")[0])


@pytest.fixture(scope="package")
def clients(host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    try:
        docker = tools.newest_docker()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    config = tmp_path_factory.mktemp("docker-config")
    found = Clients(docker, str(tools.PROJECT / "bin" / "pier"), {
        "PATH": os.environ["PATH"], "HOME": str(config), "DOCKER_CONFIG": str(config), "DOCKER_HOST": host,
        "TERM": "xterm",
        "LANG": "C.UTF-8",
    }, modern=_version(docker) >= 28)
    archive = docker_archive({IMAGE: busybox_image()})
    done: subprocess.CompletedProcess[Any] = found.run("docker", ["load"], input=archive, text=False)
    assert done.returncode == 0, done.stderr
    yield found
    if os.environ.get("PIER_E2E_HOST"):
        found.run("docker", ["rmi", "-f", IMAGE])


@pytest.fixture(scope="module")
def pullable(host: str, request: pytest.FixtureRequest) -> str:
    """An image in a registry that the engine reaches."""
    if given := os.environ.get("PIER_E2E_IMAGE"):
        return given
    if os.environ.get("PIER_E2E_HOST"):
        pytest.skip("PIER_E2E_IMAGE names no image in a registry that the engine reaches")
    registry = request.getfixturevalue("registry")
    registry.push("clie2e", "1", pack(busybox_image()))
    return f"{registry.host}/clie2e:1"


@pytest.fixture
def names(clients: Clients) -> Iterator[list[str]]:
    """Names of containers, gone after the test whatever happened."""
    made: list[str] = []
    yield made
    for name in made:
        clients.run("docker", ["rm", "-f", "-v", name])
