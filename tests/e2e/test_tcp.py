"""The Engine API on TCP: by TLS with certificates for both commands, plain on loopback alone, strangers refused."""

import http.client
import shutil
import socket
import subprocess

import pytest

from tests import certificates, world
from tests.e2e.conftest import Client
from tests.engine import running, sh, wait_until


def unused_port():
    with socket.socket() as unused:
        unused.bind((world.ADDRESS, 0))
        return unused.getsockname()[1]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A directory as DOCKER_CERT_PATH has it, and the engine's own pair."""
    directory = tmp_path_factory.mktemp("certificates")
    server = certificates.make(directory, "server", world.ADDRESS)
    client = certificates.make(directory, "client", world.ADDRESS)
    for source, name in ((server.certificate, "ca.pem"), (client.certificate, "cert.pem"), (client.key, "key.pem")):
        shutil.copy(source, directory / name)
    return directory, server, client


@pytest.fixture(scope="module")
def far(tmp_path_factory, files):
    """An engine that listens by TLS, and its address."""
    _, server, client = files
    port = unused_port()
    with running("tcp", tmp_path_factory.mktemp("engine"), PIER_GATEWAY_LISTEN=f"tcp://{world.ADDRESS}:{port}",
                 PIER_GATEWAY_TLS_CA=str(client.certificate), PIER_GATEWAY_TLS_CERT=str(server.certificate),
                 PIER_GATEWAY_TLS_KEY=str(server.key)) as engine:
        engine.load_busybox()
        yield engine, f"tcp://{world.ADDRESS}:{port}"


@pytest.fixture(params=["docker", "pier"])
def remote(request, far, files):
    engine, address = far
    made = Client(engine, request.param)
    directory = files[0]
    made.argv = [made.argv[0], "-H", address, "--tlsverify", *(
        word for flag, name in (("--tlscacert", "ca.pem"), ("--tlscert", "cert.pem"), ("--tlskey", "key.pem"))
        for word in (flag, str(directory / name)))]
    yield made
    engine.remove_everything()


def test_a_far_engine_is_used_like_a_near_one(remote):
    assert remote.ok("run", "--rm", *sh("echo here; echo there >&2; exit 0")) == "here"
    remote.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    assert remote.ok("ps", "--format", "{{.Names}}") == "box"
    assert remote.ok("exec", "box", "echo", "inside") == "inside"


def test_input_ends_and_output_goes_on(remote):
    text = "".join(f"line {number}\n" for number in range(50_000))
    assert remote.ok("run", "-i", "--rm", *sh("cat; echo end"), input=text) == text + "end"


def test_much_output_comes_whole(remote):
    done = remote.run("run", "--rm", *sh("dd if=/dev/zero bs=1M count=20 2>/dev/null"), text=False)
    assert (done.returncode, len(done.stdout)) == (0, 20 << 20)


def test_files_come_and_go(remote, tmp_path):
    remote.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    data = bytes(range(256)) * 40_000
    (tmp_path / "data").write_bytes(data)
    remote.ok("cp", str(tmp_path / "data"), "box:/data")
    remote.ok("cp", "box:/data", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data


def test_strangers_are_refused_and_told_nothing(far, files, tmp_path):
    engine, address = far
    stranger = certificates.make(tmp_path, "stranger", world.ADDRESS)
    server = str(files[1].certificate)
    for own in ((), ("--tlscert", str(stranger.certificate), "--tlskey", str(stranger.key))):
        for name in ("docker", "pier"):
            done = engine.run([engine.argv(name)[0], "-H", address, "--tlsverify", "--tlscacert", server, *own, "ps"])
            assert (done.returncode, done.stdout) == (1, ""), done.stderr
            assert "tls" in done.stderr
    assert engine.run([engine.argv("pier")[0], "-H", address, "ps"]).returncode == 1  # no TLS at all
    with socket.create_connection((world.ADDRESS, int(address.rpartition(":")[2])), 10) as silent:
        silent.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in silent.recv(4096)


def test_an_engine_that_is_another_is_not_trusted(far, files, tmp_path):
    engine, address = far
    other = certificates.make(tmp_path, "other", world.ADDRESS)
    trusted = ("--tlsverify", "--tlscacert", str(other.certificate))
    done = engine.run([engine.argv("pier")[0], "-H", address, *trusted, "ps"])
    assert "failed to verify certificate" in done.stderr


def test_a_connection_that_breaks_leaves_nothing(far, files):
    engine, address = far
    argv = [engine.argv("pier")[0], "-H", address, "--tls", "--tlscert", str(files[2].certificate), "--tlskey",
            str(files[2].key), "run", "--rm", "--name", "left", "-i", *sh("echo up; cat; echo over")]
    held = engine.start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert held.stdout.readline() == b"up\n"
    held.kill()
    held.wait()
    held.stdin.close()
    held.stdout.close()
    wait_until(lambda: engine.ok("ps", "-aq") == "", what="the container's input ended with its client")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    port = unused_port()
    with running("plain", tmp_path_factory.mktemp("engine"), PIER_GATEWAY_LISTEN=f"tcp://127.0.0.1:{port}") as engine:
        engine.load_busybox()
        yield engine, f"tcp://127.0.0.1:{port}"


@pytest.mark.parametrize("name", ["docker", "pier"])
def test_plain_tcp_on_loopback_has_hijacked_streams_too(plain, name):
    engine, address = plain
    done = engine.run([engine.argv(name)[0], "-H", address, "run", "-i", "--rm", *sh("cat; echo end")], input="x\n")
    assert done.stdout == "x\nend\n"


@pytest.mark.parametrize("headers, reason", [
    ({"Host": "evil.example"}, "the engine has no name"),
    ({"Origin": "http://evil.example"}, "is another's page"),
])
def test_67_a_page_in_a_browser_does_not_drive_the_engine(plain, headers, reason):
    host, _, port = plain[1].removeprefix("tcp://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    connection.request("POST", "/containers/prune", headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert (answer.status, reason in text) == (403, True), text
