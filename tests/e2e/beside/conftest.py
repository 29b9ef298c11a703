"""Pier and a live dockerd on one host, started in either order."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.beside import dockerd
from tests.e2e.beside.dockerd import Dockerd
from tests.engine import Engine, running
from tests.service.netd.packets import SocketMaker
from tests.world import outside

_SLEEPS = ("busybox", "sleep", "1000")


@dataclass(frozen=True)
class Container:
    """A running container of either engine: its address, and sockets in its network namespace."""

    address: str
    sockets: SocketMaker
    sockets6: SocketMaker


@dataclass(frozen=True)
class Both:
    """The two engines of the host."""

    pier: Engine
    docker: Dockerd

    def start(self, engine: Engine | Dockerd, *options: str) -> Container:
        """`run -d` of a container that sleeps, and ends at once when it is stopped."""
        facts = engine.inspect(engine.ok("run", "-d", "--stop-signal", "KILL", *options, *_SLEEPS))
        (endpoint,) = facts["NetworkSettings"]["Networks"].values()
        namespace = Path(f"/proc/{facts['State']['Pid']}/ns/net")
        first, second = (
            lambda kind, family=family: outside.open_socket(family, kind, namespace)
            for family in (socket.AF_INET, socket.AF_INET6)
        )
        return Container(endpoint["IPAddress"], first, second)


def rules() -> list[str]:
    """Every rule of iptables and ip6tables in all tables, as they save them, without counters and dates."""
    found = []
    for command in ("iptables-save", "ip6tables-save"):
        saved = subprocess.run([command], check=True, capture_output=True, text=True)
        assert "incompatible" not in saved.stdout + saved.stderr, "iptables cannot work on this table any more"
        lines = (line.partition(" [")[0] for line in saved.stdout.splitlines())
        found += [line for line in lines if not line.startswith("#")]
    return found


@pytest.fixture(scope="module")
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Started in the order that the module's ``FIRST`` says: "docker" or "pier"."""
    order = str(request.module.FIRST)
    if reason := dockerd.missing():
        pytest.skip(reason)
    with ExitStack() as stack:
        def docker() -> Dockerd:
            return stack.enter_context(dockerd.running(tmp_path_factory.mktemp("dockerd")))

        def pier() -> Engine:
            name = f"beside-{order[0]}"
            engine = stack.enter_context(running(name, tmp_path_factory.mktemp("engine")))
            engine.load_busybox()
            return engine

        if order == "docker":
            first = docker()
            made = Both(pier(), first)
        else:
            made = Both(pier(), docker())
        # dockerd writes this policy only where it was dockerd that switched forwarding on.
        subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
        yield made


@pytest.fixture(scope="module")
def engine(both: Both) -> Engine:
    return both.pier


@pytest.fixture(autouse=True)
def no_docker_containers_left(both: Both) -> Iterator[None]:
    yield
    both.docker.remove_everything()
