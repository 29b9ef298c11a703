"""Attacks on the host by way of its network and of the files that carry names."""

import io
import socket
import tarfile
from pathlib import Path

import pytest

from tests import world
from tests.engine import sh

LISTEN = "0A"


@pytest.fixture(autouse=True)
def cleaned(engine):
    yield
    engine.remove_everything()


@pytest.mark.parametrize("name", ["hosts", "resolv.conf", "hostname"])
@pytest.mark.parametrize("climbing", [False, True])
def test_38_a_file_of_the_engines_making_is_not_written_through_an_images_symlink(engine, tmp_path, name, climbing):
    victim = tmp_path / "victim"
    victim.write_text("the host's own\n")
    engine.ok("create", "--name", "web", *sh(f"cat /etc/{name}; sleep 1000"))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.type = tarfile.SYMTYPE
        entry.linkname = ("../" * 12 if climbing else "/") + str(victim).lstrip("/")
        tar.addfile(entry)
    done = engine.docker("cp", "-", "web:/etc", input=archive.getvalue(), text=False)
    assert done.returncode == 0, done.stderr
    started = engine.docker("start", "web")
    engine.docker("network", "connect", "bridge", "web")  # would write hosts and resolv.conf anew
    engine.docker("rename", "web", "other")
    assert victim.read_text() == "the host's own\n"
    assert list(tmp_path.iterdir()) == [victim]
    if started.returncode == 0:
        assert "the host's own" not in engine.docker("logs", "other").stdout


def listening():
    """(address, port) of every TCP socket that listens in this network namespace."""
    found = []
    for table, family, size in (("tcp", socket.AF_INET, 4), ("tcp6", socket.AF_INET6, 16)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            address, _, port = words[1].partition(":")
            if words[3] == LISTEN:
                raw = bytes.fromhex(address)
                packed = b"".join(raw[i:i + 4][::-1] for i in range(0, size, 4))
                found.append((socket.inet_ntop(family, packed), int(port, 16)))
    return found


def test_67_the_api_is_on_no_tcp_port_unless_it_is_asked_for(engine):
    for address, port in listening():
        with socket.create_connection((address, port), timeout=10) as connection:
            connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b"Api-Version" not in connection.recv(4096), f"{address}:{port} is the API"


def test_67_from_a_container_no_port_of_the_engine_answers(engine):
    ports = listening()
    assert ports, "the metrics at least"
    assert {address for address, _ in ports} <= {"127.0.0.1", "::1", "127.0.0.11"}, "nothing listens to the network"
    engine.ok("run", "-d", "--name", "web", *sh("sleep 1000"))
    gateway = engine.inspect("web")["NetworkSettings"]["Networks"]["bridge"]["Gateway"]

    def answers(address, port):
        return engine.docker("exec", "web", "nc", "-w", "1", address, str(port), "-e", "true").returncode == 0

    with socket.create_server((gateway, 0)) as control:
        assert answers(gateway, control.getsockname()[1]), "the test's own proof"
    for _, port in ports:
        for address in (gateway, world.ADDRESS, "127.0.0.1"):
            assert not answers(address, port), f"{address}:{port} answers"
