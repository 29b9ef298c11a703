"""On the host itself, beside a live dockerd: no world in between, so it is few tests, and they are asked for.

A dockerd of the tests' own is started where the host's firewall is empty, and goes with all that it wrote. Afterwards
the host is as it was.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import facts
from tests.e2e.beside import dockerd
from tests.e2e.beside.dockerd import Dockerd
from tests.engine import Engine, running, sh, wait_until

pytestmark = pytest.mark.host

_SYSCTLS = [Path("/proc/sys/net/ipv4/ip_forward"), Path("/proc/sys/net/ipv4/conf/all/route_localnet")]
_WATCHED = {"mounts": facts.mounts, "links": facts.links, "nftables": facts.nftables, "cgroups": facts.control_groups}
_ANSWERS = sh("while :; do echo $WORD | nc -l -p 80; done")


def host() -> dict[str, set[str]]:
    """What is watched, as lines. Other tests may be in worlds meanwhile: their cgroups are left out."""
    found = {kind: {each for each in collect() if "pier-world-" not in each} for kind, collect in _WATCHED.items()}
    found["sysctls"] = {f"{path}={path.read_text()}" for path in _SYSCTLS}
    return found


@pytest.fixture(scope="module", autouse=True)
def as_before() -> Iterator[None]:
    before, values = host(), {path: path.read_text() for path in _SYSCTLS}
    yield
    for path, value in values.items():
        path.write_text(value)

    def difference() -> dict[str, set[str]]:
        return {kind: before[kind] ^ lines for kind, lines in host().items() if before[kind] != lines}

    with contextlib.suppress(AssertionError):
        wait_until(lambda: not difference(), 15)
    assert difference() == {}


@pytest.fixture(scope="module")
def docker(as_before: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
    if reason := dockerd.missing():
        pytest.skip(reason)
    if subprocess.run(["nft", "list", "tables"], check=True, capture_output=True).stdout:
        pytest.skip("this host has rules of its own, which a dockerd of the tests' would take along")
    with dockerd.running(tmp_path_factory.mktemp("dockerd"), on_host=True) as made:
        yield made


@pytest.fixture(scope="module")
def engine(docker: Dockerd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running("on-host", tmp_path_factory.mktemp("engine"), on_host=True) as made:
        made.load_busybox()
        yield made
    shutil.rmtree(made.instance.run)


def answer(port: str) -> str:
    """What is told by who listens on the host's ``port``; "" where nobody does yet."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 1) as connection:
        connection.settimeout(2)
        return connection.recv(64).decode().strip()
    return ""


def published(engine: Engine | Dockerd, word: str) -> str:
    """A container of ``engine`` that tells ``word``; its port at the host."""
    name = f"tells-{word}"
    engine.ok("run", "-d", "--stop-signal", "KILL", "--name", name, "-e", f"WORD={word}", "-p", "80", *_ANSWERS)
    return engine.ok("port", name, "80").splitlines()[0].rpartition(":")[2]


def test_containers_of_both_run(docker: Dockerd, engine: Engine) -> None:
    for each in (docker, engine):
        assert each.ok("run", "--rm", *sh("echo $((6 * 7))")) == "42"


def test_what_both_publish_is_reached_at_the_host(docker: Dockerd, engine: Engine) -> None:
    ports = {word: published(each, word) for word, each in (("docker", docker), ("pier", engine))}
    for word, port in ports.items():
        wait_until(lambda: answer(port) == word, 10, f"{word} answers at {port}")  # noqa: B023 - asked at once


def test_all_services_killed_lose_no_container(engine: Engine) -> None:
    port = published(engine, "kept")
    wait_until(lambda: answer(port) == "kept")
    engine.kill("gateway", "imaged", "netd", "execd", "zygote")
    wait_until(lambda: answer(port) == "kept", 10, "it answers while the services are away")
    engine.wait_serving()
    assert "tells-kept" in engine.ok("ps", "--format", "{{.Names}}")
    engine.ok("stop", "tells-kept")
    engine.ok("rm", "tells-kept")


def test_dockerd_stopped_and_started_again_leaves_ours_alone(docker: Dockerd, engine: Engine) -> None:
    port = published(engine, "stays")
    docker.stop()
    docker.start()
    wait_until(lambda: answer(port) == "stays")
    assert engine.ok("run", "--rm", *sh("echo still")) == "still"
    assert docker.ok("run", "--rm", *sh("echo again")) == "again"
