"""A container's networks changed while it runs, and before."""

import pytest

from tests.engine import sh

ADDRESSES = ("ip", "-o", "-4", "address")


@pytest.fixture(autouse=True)
def networks(engine):
    for name in ("blue", "green"):
        engine.ok("network", "create", name)
    yield
    engine.remove_everything()
    engine.ok("network", "rm", "blue", "green")


def joined(engine, name):
    return {name: each["IPAddress"] for name, each in engine.inspect(name)["NetworkSettings"]["Networks"].items()}


def inside(engine, name):
    return engine.ok("exec", name, *ADDRESSES)


def test_a_running_container_is_connected_and_parted(client, engine):
    engine.ok("run", "-d", "--name", "here", *sh("sleep 1000"))
    client.ok("network", "connect", "blue", "here")
    client.ok("network", "connect", "--ip", subnet_of(engine, "green") + ".77", "green", "here")
    found = joined(engine, "here")
    assert set(found) == {"bridge", "blue", "green"}
    assert found["green"].endswith(".77")
    shown = inside(engine, "here")
    for number, network in enumerate(("bridge", "blue", "green")):
        assert f"eth{number}    inet {found[network]}/" in shown
    assert "here" in client.ok("network", "inspect", "blue")
    done = client.run("network", "connect", "blue", "here")
    assert done.returncode == 1
    assert "endpoint with name here already exists in network blue" in done.stderr
    assert "has active endpoints" in client.run("network", "rm", "blue").stderr
    client.ok("network", "disconnect", "bridge", "here")
    assert "eth0" not in inside(engine, "here")
    assert "is not connected to the network bridge" in client.run("network", "disconnect", "bridge", "here").stderr
    engine.ok("restart", "-t", "0", "here")
    assert set(joined(engine, "here")) == {"blue", "green"}
    assert joined(engine, "here")["green"] == found["green"]


def subnet_of(engine, name):
    return engine.inspect(name)["IPAM"]["Config"][0]["Subnet"].rpartition(".")[0]


def test_a_created_container_is_joined_at_its_start(client, engine):
    engine.ok("create", "--name", "later", "--network", "blue", *sh("sleep 1000"))
    client.ok("network", "connect", "green", "later")
    client.ok("network", "disconnect", "blue", "later")
    engine.ok("start", "later")
    assert set(joined(engine, "later")) == {"green"}
    assert "eth0" in inside(engine, "later")


@pytest.mark.parametrize("mode", ["host", "none"])
def test_a_container_without_networks_of_its_own_gets_none(client, engine, mode):
    engine.ok("run", "-d", "--name", "bare", "--network", mode, *sh("sleep 1000"))
    done = client.run("network", "connect", "blue", "bare")
    assert done.returncode == 1
    assert f"connected to {mode} network" in done.stderr


def test_what_is_not_there_is_told(client, engine):
    assert "network nope not found" in client.run("network", "connect", "nope", "x").stderr
    assert "No such container: nope" in client.run("network", "connect", "blue", "nope").stderr
    engine.ok("run", "-d", "--name", "here", *sh("sleep 1000"))
    done = client.run("network", "connect", "--ip", "9.9.9.9", "blue", "here")
    assert done.returncode == 1
    assert set(joined(engine, "here")) == {"bridge"}
