"""Who calls the gateway on TCP, and what they may: both faces, roles by certificate, the audit log, its restart."""

import json
import os
import socket
import subprocess
import sys
import threading

import grpc
import pytest

from pier.system.v1 import system_pb2, system_pb2_grpc
from pier_client import Pier, PierError, Tls, channels
from tests import certificates, world
from tests.engine import running, sh, wait_until

ROLES = """
[[rule]]
role = "operator"
ou = "ops"
[[rule]]
role = "read-only"
cn = "reader"
"""


def unused_port():
    with socket.socket() as unused:
        unused.bind((world.ADDRESS, 0))
        return unused.getsockname()[1]


class Far:
    """An engine on TCP, and certificates of its authority: "ops", "reader", "nobody"."""

    def __init__(self, engine, directory, rest, rpc, alone):
        self.engine, self.directory, self.rest, self.rpc, self.alone = engine, directory, rest, rpc, alone

    def docker(self, name, *arguments, **options):
        flags = [f"--tlscacert={self.directory}/authority.pem", f"--tlscert={self.directory}/{name}.pem",
                 f"--tlskey={self.directory}/{name}-key.pem"]
        return self.engine.run(
            [*self.engine.argv("docker"), "-H", self.rest, "--tlsverify", *flags, *arguments], **options)

    def tls(self, name):
        return Tls(*(self.directory / each for each in ("authority.pem", f"{name}.pem", f"{name}-key.pem")))

    def pier(self, name):
        return Pier(self.rpc, tls=self.tls(name))

    def audit(self):
        lines = (self.engine.instance.state("gateway") / "audit.log").read_text().splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificates")
    authority = certificates.make(directory, "authority", world.ADDRESS)
    for name, unit in (("server", ""), ("ops", "ops"), ("reader", ""), ("nobody", "")):
        certificates.issue(directory, authority, name, world.ADDRESS, unit)
    (directory / "roles.toml").write_text(ROLES)
    rest, rpc = (f"tcp://{world.ADDRESS}:{unused_port()}" for _ in range(2))
    alone = {name: f"tcp://{world.ADDRESS}:{unused_port()}" for name in ("netd", "execd", "buildd")}
    with running(
        "callers", tmp_path_factory.mktemp("engine"), PIER_GATEWAY_LISTEN=rest, PIER_GATEWAY_ENGINE_LISTEN=rpc,
        PIER_NETD_LISTEN=alone["netd"], PIER_EXECD_LISTEN=alone["execd"], PIER_BUILDD_LISTEN=alone["buildd"],
        PIER_TLS_CA=str(authority.certificate), PIER_TLS_CERT=f"{directory}/server.pem",
        PIER_TLS_KEY=f"{directory}/server-key.pem", PIER_ROLES=f"{directory}/roles.toml",
    ) as engine:
        engine.load_busybox()
        made = Far(engine, directory, rest, rpc, alone)
        with made.pier("ops") as pier:
            pier.info()  # what gRPC opens once for a process is open before any test
        yield made


@pytest.fixture(autouse=True)
def no_containers_left(far):
    yield
    far.engine.remove_everything()


def test_an_operator_drives_both_faces_from_afar(far):
    assert far.docker("ops", "run", "--rm", *sh("echo here")).stdout == "here\n"
    with far.pier("ops") as pier:
        assert pier.containers.run("busybox", ["cat"], input=b"x" * 3_000_000).stdout == b"x" * 3_000_000


def test_a_reader_reads_and_is_refused_by_name(far):
    far.engine.ok("run", "-d", "--name", "box", *sh("echo logged; exec sleep 1000"))
    wait_until(lambda: far.engine.ok("logs", "box") == "logged")
    assert far.docker("reader", "ps", "--format", "{{.Names}}").stdout == "box\n"
    assert far.docker("reader", "logs", "box").stdout == "logged\n"
    for arguments in (("stop", "box"), ("run", "busybox"), ("exec", "box", "true"), ("rm", "-f", "box"),
                      ("pull", "127.0.0.1:1/x"), ("network", "create", "n"), ("volume", "create", "v"),
                      ("cp", "/etc/hostname", "box:/"), ("system", "prune", "-f"), ("tag", "busybox", "x")):
        done = far.docker("reader", *arguments)
        assert done.returncode != 0
        assert "may only read" in done.stderr, arguments
    with far.pier("reader") as pier:
        assert [each.record.name for each in pier.containers.list()] == ["box"]
        for call in (lambda: pier.containers.stop("box"), lambda: pier.containers.exec("box", ["true"]),
                     lambda: pier.images.pull("127.0.0.1:1/x"), lambda: pier.containers.attach("box", stdin=True)):
            with pytest.raises(PierError) as caught:
                call()
            assert (caught.value.code, caught.value.reason) == ("PERMISSION_DENIED", "READ_ONLY")
        with pier.containers.attach("box") as session:
            assert session.opened.container_id
    assert far.engine.ok("inspect", "-f", "{{.State.Status}}", "box") == "running"


def test_who_has_no_role_learns_that_there_is_an_engine_and_no_more(far):
    done = far.docker("nobody", "ps")
    assert (done.returncode, done.stdout.count("\n")) == (1, 0)
    assert "no role" in done.stderr
    with far.pier("nobody") as pier, pytest.raises(PierError) as caught:
        pier.info()
    assert caught.value.reason == "NO_ROLE"


def test_each_change_is_in_the_audit_log_with_who_made_it(far):
    far.docker("ops", "run", "--name", "audited", "busybox", "true")
    far.engine.ok("rename", "audited", "renamed")
    with far.pier("ops") as pier:
        pier.containers.remove("renamed", operation_id="remove-1")
    far.docker("reader", "rm", "x")
    far.engine.ok("build", "--build-arg", "TOKEN=very-secret", "-", input="FROM scratch\nARG TOKEN\nLABEL a=b\n")
    calls = {(each["call"], each["object"]): each for each in far.audit()}
    assert calls["POST /containers/create", "audited"]["result"] == "OK"
    assert calls["POST /containers/create", "audited"]["who"]["certificate"].startswith("CN=ops, OU=ops")
    renamed = calls["POST /containers/{name}/rename", "audited"]
    assert (renamed["arguments"], renamed["who"]["uid"]) == ({"name": "renamed"}, 0)
    removed = calls["pier.engine.v1.ContainerService/RemoveContainer", "renamed"]
    assert removed["who"]["certificate"].startswith("CN=ops")
    assert calls["DELETE /containers/{name}", "x"]["result"] == "READ_ONLY"
    assert all(each["request_id"] for each in calls.values())
    read = {each["result"] for (call, _), each in calls.items() if call.startswith(("GET", "HEAD"))}
    assert read <= {"NO_ROLE"}
    assert "very-secret" not in str(far.audit())


@pytest.mark.parametrize("service", ["netd", "execd", "buildd"])
def test_each_service_is_driven_alone_from_afar_also_over_its_death(far, service):
    for name, allowed in (("ops", True), ("reader", False)):
        with channels.channel(far.alone[service], far.tls(name)) as channel:
            stub = system_pb2_grpc.SystemServiceStub(channel)
            assert stub.Info(system_pb2.InfoRequest(), timeout=20).service == service
            if allowed:
                stub.Fsck(system_pb2.FsckRequest(repair=True), timeout=20)
                continue
            with pytest.raises(grpc.RpcError) as caught:
                stub.Fsck(system_pb2.FsckRequest(repair=True), timeout=20)
            assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
    far.engine.kill(service)
    with channels.channel(far.alone[service], far.tls("ops")) as channel:
        stub = system_pb2_grpc.SystemServiceStub(channel)
        assert stub.Info(system_pb2.InfoRequest(), timeout=20, wait_for_ready=True).service == service
    lines = (far.engine.instance.state(service) / "audit.log").read_text().splitlines()
    told = [(each["call"], each["result"]) for each in map(json.loads, lines)]
    assert told == [("pier.system.v1.SystemService/Fsck", "OK"), ("pier.system.v1.SystemService/Fsck", "READ_ONLY")]
    far.engine.wait_supervised()


def test_connections_wait_while_the_gateway_is_started_again(far):
    """Also those on TCP: each is tried while no gateway is there, and none is refused."""
    host, port = far.rest.removeprefix("tcp://").split(":")
    gone = threading.Event()
    results = []

    def ask():
        gone.wait(20)
        results.append(far.docker("ops", "version", "--format", "{{.Server.Version}}", timeout=60).returncode)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    far.engine.kill("gateway")
    gone.set()
    with socket.create_connection((host, int(port)), 10):  # refused by nobody: the launcher listens
        pass
    with far.pier("ops") as pier:
        assert pier.info().instance == "callers"
    for thread in threads:
        thread.join()
    assert results == [0, 0, 0]
    far.engine.wait_supervised()


def test_settings_that_would_not_hold_what_they_promise_are_refused(tmp_path):
    for settings, words in (({"PIER_ROLES": "/etc/hostname"}, "certificates are shown by TLS alone"),
                            ({"PIER_LISTEN": "tcp://0.0.0.0:1"}, "whoever reaches it is root here")):
        done = subprocess.run(
            [sys.executable, "-m", "tests.unit.chassis.sample_service", "--root", tmp_path / "root", "--run",
             tmp_path / "run", "--metrics-port", "0"], env={**os.environ, **settings}, capture_output=True, text=True,
            timeout=30, check=False)
        assert done.returncode == 1
        assert words in done.stderr
