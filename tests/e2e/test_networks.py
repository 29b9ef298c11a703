"""A container's networks changed while it runs, and before."""

import pytest

from tests.engine import sh

SYSCTLS = "com.docker.network.endpoint.sysctls"
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


def test_switches_and_the_name_of_a_link_are_set_by_driver_options(client, engine):
    options = "name=blue,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1"
    client.ok("run", "-d", "--name", "here", "--network", options, *sh("sleep 1000"))
    assert engine.ok("exec", "here", "cat", "/proc/sys/net/ipv4/conf/eth0/log_martians") == "1"
    named = "com.docker.network.endpoint.ifname=wan0"
    client.ok("network", "connect", "--driver-opt", named, "green", "here")
    assert "wan0" in inside(engine, "here")
    settings = engine.inspect("here")["NetworkSettings"]["Networks"]
    assert settings["green"]["DriverOpts"] == {"com.docker.network.endpoint.ifname": "wan0"}
    engine.ok("restart", "-t", "0", "here")
    assert engine.ok("exec", "here", "cat", "/proc/sys/net/ipv4/conf/eth0/log_martians") == "1"
    assert "wan0" in inside(engine, "here")
    for option, message in (("com.example.nope=1", "com.example.nope' is not built"),
                            (f"{SYSCTLS}=net.ipv4.conf.eth0.forwarding=1", "unrecognised network interface sysctl"),
                            (f"{SYSCTLS}=net.ipv4.conf.IFNAME.nope=1", "this kernel has no such switch")):
        done = client.run("run", "--rm", "--network", f"name=blue,driver-opt={option}", *sh("true"))
        assert done.returncode == 125
        assert message in done.stderr
    assert engine.pier("system", "fsck").returncode == 0


def test_interfaces_are_in_the_order_of_networks_and_the_highest_priority_leads_out(engine):
    def gateway(name):
        return engine.ok("exec", name, *sh("ip route")[1:]).partition("default via ")[2].split()[0]

    def gateways(name):
        networks = engine.inspect(name)["NetworkSettings"]["Networks"]
        return {network: each["Gateway"] for network, each in networks.items()}

    done = engine.pier("run", "-d", "--name", "here", "--network", "green", "--network", "name=blue,gw-priority=1",
                       *sh("sleep 1000"))
    assert done.returncode == 0, done.stderr
    shown = inside(engine, "here")
    assert f"eth0    inet {joined(engine, 'here')['green']}/" in shown
    assert f"eth1    inet {joined(engine, 'here')['blue']}/" in shown
    assert gateway("here") == gateways("here")["blue"]
    engine.ok("network", "connect", "bridge", "here")
    assert gateway("here") == gateways("here")["blue"]
    engine.ok("network", "disconnect", "blue", "here")
    assert gateway("here") == gateways("here")["bridge"], "the first by name, of those of one priority"
    assert engine.pier("network", "connect", "--gw-priority", "5", "blue", "here").returncode == 0
    assert gateway("here") == gateways("here")["blue"]
    assert engine.inspect("here")["NetworkSettings"]["Networks"]["blue"]["GwPriority"] == 5
