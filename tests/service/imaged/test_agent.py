"""imaged on TCP by mutual TLS, and the example agent that drives two of them: prewarmed, followed, killed, resumed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from pier.system.v1 import system_pb2, system_pb2_grpc
from pier_client import PierError, Tls, channels
from pier_client.errors import told
from tests import certificates, tools, world
from tests.certificates import Pair
from tests.engine import wait_until
from tests.images import busybox, layered, pack
from tests.registry import Registry
from tests.service.imaged.served import NAMESPACE, Served

_ROLES = """
[[rule]]
role = "operator"
ou = "agents"
[[rule]]
role = "read-only"
san = "DNS:reader.example"
"""


def unused_port() -> int:
    with socket.socket() as unused:
        unused.bind((world.ADDRESS, 0))
        return int(unused.getsockname()[1])


@dataclass(frozen=True)
class Nodes:
    """Two instances of imaged, their addresses, and the authority that everybody's certificate is of."""

    served: tuple[Served, Served]
    addresses: tuple[str, str]
    directory: Path
    authority: Pair

    def tls(self, name: str) -> Tls:
        pair = Pair(self.directory / f"{name}.pem", self.directory / f"{name}-key.pem")
        return Tls(self.authority.certificate, pair.certificate, pair.key)

    def audit(self, number: int) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.served[number].state / "audit.log").read_text().splitlines()]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    directory = tmp_path_factory.mktemp("nodes")
    authority = certificates.make(directory, "authority", world.ADDRESS)
    for name, unit in (("server", ""), ("agent", "agents"), ("reader", ""), ("nobody", "")):
        certificates.issue(directory, authority, name, world.ADDRESS, unit)
    (directory / "roles.toml").write_text(_ROLES)
    made = Nodes(
        (Served(directory / "one"), Served(directory / "two")),
        (f"tcp://{world.ADDRESS}:{unused_port()}", f"tcp://{world.ADDRESS}:{unused_port()}"), directory, authority)

    async def start() -> None:
        for served, address in zip(made.served, made.addresses, strict=True):
            served.directory.mkdir()
            await served.start(listen=address, tls_ca=authority.certificate, tls_cert=directory / "server.pem",
                               tls_key=directory / "server-key.pem", roles=directory / "roles.toml")
            await served.import_(bytes(1024))  # its zygote lives from here on
            await served.disconnect()

    async def stop() -> None:
        for served in made.served:
            await served.stop()

    asyncio.run(start())
    try:
        yield made
    finally:
        asyncio.run(stop())


class Agent:
    """The agent as a process of its own."""

    def __init__(self, nodes: Nodes, directory: Path, images: list[str]) -> None:
        tls = nodes.tls("agent")
        self.report = directory / "report.jsonl"
        self._config = directory / "agent.toml"
        lines = [f'report = "{self.report}"', f"images = {json.dumps(images)}", "[tls]", f'ca = "{tls.ca}"',
                 f'certificate = "{tls.certificate}"', f'key = "{tls.key}"']
        for name, address in zip(("one", "two"), nodes.addresses, strict=True):
            lines += ["[[node]]", f'name = "{name}"', f'address = "{address}"']
        self._config.write_text("\n".join(lines))
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        paths = [str(tools.PROJECT), str(tools.PROJECT / "client"), str(tools.PROJECT / "services")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "examples.agent", self._config], cwd=tools.PROJECT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
        return self.process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def lines(self, node: str, kind: str) -> list[dict[str, Any]]:
        """Of the whole lines of its report."""
        if not self.report.exists():
            return []
        text = self.report.read_bytes().rpartition(b"\n")[0].splitlines()
        found = [json.loads(line) for line in text]
        return [line for line in found if (line["node"], line["kind"]) == (node, kind)]


def image_service(nodes: Nodes, name: str, number: int = 0) -> tuple[grpc.Channel, Any]:
    channel = channels.channel(nodes.addresses[number], nodes.tls(name))
    return channel, rpc.ImageServiceStub(channel)


def tag(nodes: Nodes, number: int, source: str, *references: str) -> None:
    """Each is an event of that node's."""
    channel, stub = image_service(nodes, "agent", number)
    with channel:
        for reference in references:
            stub.TagImage(pb.TagImageRequest(namespace=NAMESPACE, image=source, reference=reference), timeout=20)


def test_an_agent_prewarms_both_nodes_and_goes_on_exactly_after_it_was_killed(
    nodes: Nodes, registry: Registry, tmp_path: Path
) -> None:
    for name, image in (("app", layered()), ("tool", busybox())):
        registry.push(f"agent/{name}", "v1", pack(image))
    images = [f"{registry.host}/agent/app:v1", f"{registry.host}/agent/tool:v1"]
    agent = Agent(nodes, tmp_path, images)
    try:
        for node in ("one", "two"):
            wait_until(lambda node=node: len(agent.lines(node, "prewarmed")) == len(images), 30, f"{node} is warm")
        seen = 0
        for turn in range(3):
            for number in (0, 1):
                tag(nodes, number, images[0], *(f"turn{turn}:n{each}" for each in range(10)))
            # Killed as soon as it has told of something new: most is still to come.
            wait_until(lambda seen=seen: len(agent.lines("one", "event")) > seen, 20, "it follows")
            agent.kill()
            with agent.report.open("ab") as torn:
                torn.write(b'{"node": "one", "kind": "ev')
            seen = len(agent.lines("one", "event"))
            for number in (0, 1):
                tag(nodes, number, images[0], f"away{turn}:v1")
            agent.start()
        for number, node in enumerate(("one", "two")):
            channel, stub = image_service(nodes, "agent", number)
            with channel:
                stub.TagImage(pb.TagImageRequest(namespace=NAMESPACE, image=images[0], reference="last:v1"), timeout=20)
            wait_until(lambda node=node: any("last:v1" in str(line) for line in agent.lines(node, "event")), 30, node)
            sequences = [line["sequence"] for line in agent.lines(node, "event")]
            assert sequences == list(range(1, len(sequences) + 1))
            assert len(sequences) >= 34
            assert agent.lines(node, "gap") == []
    finally:
        agent.kill()


def test_a_certificate_with_a_role_may_read_and_no_more_and_that_is_in_the_audit_log(nodes: Nodes) -> None:
    channel, stub = image_service(nodes, "reader")
    with channel:
        stub.ListImages(pb.ListImagesRequest(namespace=NAMESPACE), timeout=20)
        with pytest.raises(PierError, match=r"may only read: pier\.image.*/TagImage changes") as caught, told():
            stub.TagImage(pb.TagImageRequest(namespace=NAMESPACE, image="x", reference="y"), timeout=20)
        assert (caught.value.code, caught.value.reason) == ("PERMISSION_DENIED", "READ_ONLY")
        with pytest.raises(PierError) as caught, told():
            list(stub.Load(iter([pb.LoadRequest(namespace=NAMESPACE)]), timeout=20))
        assert caught.value.reason == "READ_ONLY"
        system = system_pb2_grpc.SystemServiceStub(channel)
        system.Fsck(system_pb2.FsckRequest(), timeout=20)
        with pytest.raises(PierError) as caught, told():
            system.Fsck(system_pb2.FsckRequest(repair=True), timeout=20)
        assert caught.value.reason == "READ_ONLY"
    line = next(each for each in nodes.audit(0) if each["result"] == "READ_ONLY")
    assert "CN=reader" in line["who"]["certificate"]
    assert (line["call"], line["object"]) == ("pier.image.v1.ImageService/TagImage", "x")
    assert not [each for each in nodes.audit(0) if each["call"].endswith("ListImages")]


def test_a_certificate_without_a_role_is_refused_everything(nodes: Nodes) -> None:
    channel, stub = image_service(nodes, "nobody")
    with channel, pytest.raises(PierError) as caught, told():
        stub.ListImages(pb.ListImagesRequest(namespace=NAMESPACE), timeout=20)
    assert (caught.value.code, caught.value.reason) == ("PERMISSION_DENIED", "NO_ROLE")


def test_what_an_operator_did_is_in_the_audit_log(nodes: Nodes, registry: Registry) -> None:
    registry.push("audited", "v1", pack(busybox()))
    channel, stub = image_service(nodes, "agent", 1)
    reference = f"{registry.host}/audited:v1"
    auth = pb.RegistryAuth(username="me", password="very secret")
    with channel:
        list(stub.Pull(pb.PullRequest(namespace=NAMESPACE, reference=reference, auth=auth),
                       metadata=(("x-request-id", "pull-42"),), timeout=30))
    line = next(each for each in nodes.audit(1) if each["request_id"] == "pull-42")
    assert (line["call"], line["object"], line["result"]) == ("pier.image.v1.ImageService/Pull", reference, "OK")
    assert "OU=agents" in line["who"]["certificate"]
    assert "very secret" not in (nodes.served[1].state / "audit.log").read_text()


def test_strangers_and_plain_clients_are_refused(nodes: Nodes, tmp_path: Path) -> None:
    stranger = certificates.make(tmp_path, "stranger", world.ADDRESS)
    trusted = nodes.authority.certificate
    for tls in (Tls(trusted, stranger.certificate, stranger.key), None):
        channel = channels.channel(nodes.addresses[0], tls)
        with channel, pytest.raises(PierError) as caught, told():
            rpc.ImageServiceStub(channel).ListImages(pb.ListImagesRequest(namespace=NAMESPACE), timeout=5)
        assert caught.value.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED")


def test_certificates_and_roles_are_read_again_without_a_restart(nodes: Nodes) -> None:
    pid = nodes.served[0].pid
    other = certificates.issue(nodes.directory, nodes.authority, "renewed", world.ADDRESS)
    before = (nodes.directory / "server.pem").read_bytes(), (nodes.directory / "server-key.pem").read_bytes()
    host, port = nodes.addresses[0].removeprefix("tcp://").split(":")
    shutil.copy(other.certificate, nodes.directory / "server.pem")  # for a moment the key is another's
    shutil.copy(other.key, nodes.directory / "server-key.pem")
    (nodes.directory / "roles.toml").write_text('default = "read-only"\n')
    try:
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", f"{host}:{port}", "-cert", nodes.directory / "agent.pem", "-key",
             nodes.directory / "agent-key.pem"], input=b"", capture_output=True, timeout=20, check=False).stdout
        assert re.search(rb"CN ?= ?renewed", shown)  # OpenSSL 3.5 writes no blanks

        def refused() -> bool:
            channel, stub = image_service(nodes, "agent")
            with channel:
                try:
                    stub.TagImage(pb.TagImageRequest(namespace=NAMESPACE, image="x", reference="y"), timeout=20)
                except grpc.RpcError as error:
                    return bool(error.code() == grpc.StatusCode.PERMISSION_DENIED)
            return False

        wait_until(refused, 20, "the roles are read again")
        assert nodes.served[0].pid == pid
    finally:
        (nodes.directory / "server.pem").write_bytes(before[0])
        (nodes.directory / "server-key.pem").write_bytes(before[1])
        (nodes.directory / "roles.toml").write_text(_ROLES)
