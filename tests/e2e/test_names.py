"""Containers that find each other by name, as compose and testcontainers rely on it."""

import signal

import pytest

from tests.engine import sh, wait_until
from tests.musl import RESOLVE, compiled


@pytest.fixture(autouse=True)
def network(engine):
    engine.ok("network", "create", "blue")
    yield
    engine.remove_everything()
    engine.ok("network", "rm", "blue")


def address(engine, name, network="blue"):
    return engine.inspect(name)["NetworkSettings"]["Networks"][network]["IPAddress"]


def resolved(engine, inside, name):
    """What the C library in the container makes of the name: its address, or "" for none."""
    done = engine.docker("exec", inside, "ping", "-c", "1", "-w", "20", name)
    return done.stdout.partition("(")[2].partition(")")[0] if done.returncode == 0 else ""


def test_containers_reach_each_other_by_name_alias_short_id_and_host_name(client, engine):
    client.ok("run", "-d", "--name", "web", "--network", "blue", *sh("sleep 1000"))
    id_ = client.ok(
        "run", "-d", "--name", "db", "--network", "blue", "--network-alias", "store", "--hostname", "vault",
        *sh("echo hello > /index.html; httpd -f -p 80 -h /"))
    for name in ("db", "store", id_[:12], "vault", "db.blue", "DB"):
        assert resolved(engine, "web", name) == address(engine, "db"), name
    assert engine.ok("exec", "web", "wget", "-q", "-O", "-", "http://store/") == "hello"
    assert "db.blue" in engine.ok("exec", "web", "nslookup", address(engine, "db"))
    shown = engine.inspect("db")["NetworkSettings"]["Networks"]["blue"]
    assert shown["Aliases"] == ["store"]
    assert shown["DNSNames"] == ["db", "store", id_[:12], "vault"]
    assert engine.ok("exec", "web", "cat", "/etc/resolv.conf").splitlines()[0] == "nameserver 127.0.0.11"


def test_a_program_with_musl_finds_them_too(engine, tmp_path):
    engine.ok("run", "-d", "--name", "db", "--network", "blue", "--network-alias", "store", *sh("sleep 1000"))
    engine.ok("create", "--name", "web", "--network", "blue", *sh("sleep 1000"))
    engine.ok("cp", str(compiled(RESOLVE, tmp_path)), "web:/resolve")
    engine.ok("start", "web")
    for name in ("db", "store", "db.blue"):
        assert engine.ok("exec", "web", "/resolve", name) == address(engine, "db")
    assert engine.ok("exec", "web", "/resolve", "-x", address(engine, "db")) == "db.blue"


def test_a_name_follows_its_container(client, engine):
    engine.ok("run", "-d", "--name", "web", "--network", "blue", *sh("sleep 1000"))
    engine.ok("run", "-d", "--name", "db", "--network", "blue", *sh("sleep 1000"))
    client.ok("rename", "db", "store")
    assert resolved(engine, "web", "store") == address(engine, "store")
    assert resolved(engine, "web", "db") == ""
    engine.ok("restart", "-t", "0", "store")
    assert resolved(engine, "web", "store") == address(engine, "store")
    engine.ok("stop", "-t", "0", "store")
    assert resolved(engine, "web", "store") == ""
    engine.ok("start", "store")
    client.ok("network", "disconnect", "blue", "store")
    assert resolved(engine, "web", "store") == ""
    client.ok("network", "connect", "--alias", "again", "--link", "web:peer", "blue", "store")
    assert resolved(engine, "web", "again") == address(engine, "store")
    assert resolved(engine, "store", "peer") == address(engine, "web")
    assert resolved(engine, "web", "peer") == "", "a link is its container's own"


def test_several_containers_share_an_alias(client, engine):
    for number in range(3):
        client.ok("run", "-d", "--name", f"w{number}", "--network", "blue", "--network-alias", "all", *sh("sleep 1000"))
    found = engine.ok("exec", "w0", "nslookup", "all")
    assert all(address(engine, f"w{number}") in found for number in range(3))


def test_aliases_need_a_network_with_names(client, engine):
    done = engine.pier("run", "--rm", "--network-alias", "x", *sh("true"))
    assert done.returncode == 125
    assert "network-scoped aliases are only supported for user-defined networks" in done.stderr
    engine.ok("run", "-d", "--name", "plain", *sh("sleep 1000"))
    done = client.run("network", "connect", "--alias", "x", "bridge", "plain")
    assert done.returncode == 1



def test_the_files_of_a_running_container_follow_its_networks(client, engine):
    script = "echo 10.1.1.1 own >> /etc/hosts; trap 'exit 1' USR1; while :; do sleep 0.1; done"
    engine.ok("run", "-d", "--name", "web", "--restart", "always", *sh(script))
    before = engine.ok("exec", "web", "cat", "/etc/resolv.conf")
    wait_until(lambda: "own" in engine.ok("exec", "web", "cat", "/etc/hosts"))
    plain = engine.ok("exec", "web", "cat", "/etc/hosts")
    client.ok("network", "connect", "blue", "web")
    hosts = engine.ok("exec", "web", "cat", "/etc/hosts")
    assert "10.1.1.1 own" in hosts
    assert f"{address(engine, 'web')}\t" in hosts
    assert engine.ok("exec", "web", "cat", "/etc/resolv.conf").startswith("nameserver 127.0.0.11")
    assert resolved(engine, "web", "web") == address(engine, "web")
    engine.until_catches("web", signal.SIGUSR1)
    pid = engine.inspect("web")["State"]["Pid"]
    engine.ok("kill", "-s", "USR1", "web")
    wait_until(lambda: engine.inspect("web")["State"]["Pid"] not in (0, pid))
    assert engine.ok("exec", "web", "cat", "/etc/resolv.conf").startswith("nameserver 127.0.0.11"), "its next life too"
    client.ok("network", "disconnect", "blue", "web")
    assert engine.ok("exec", "web", "cat", "/etc/resolv.conf") == before
    wait_until(lambda: "own" in engine.ok("exec", "web", "cat", "/etc/hosts"))
    assert engine.ok("exec", "web", "cat", "/etc/hosts") == plain
