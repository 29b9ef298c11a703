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
    assert "is not connected to network bridge" in client.run("network", "disconnect", "bridge", "here").stderr
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
    engine.ok("run", "-d", "--name", "here", *sh("sleep 1000"))
    assert "network nope not found" in client.run("network", "connect", "nope", "here").stderr
    assert "No such container: nope" in client.run("network", "connect", "blue", "nope").stderr
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

def test_a_mac_address_is_the_containers_on_its_main_network(client, engine):
    address = "cat", "/sys/class/net/eth0/address"
    for network in ("bridge", "blue"):
        asked = "--network", network, "--mac-address", "02-42-00-00-00-0A"
        found = client.ok("run", "--rm", *asked, "busybox", *address)
        assert found == "02:42:00:00:00:0a"
    client.ok("run", "-d", "--name", "here", "--mac-address", "02:42:00:00:00:0b", *sh("sleep 1000"))
    engine.ok("restart", "-t", "0", "here")
    assert engine.ok("exec", "here", *address) == "02:42:00:00:00:0b"
    assert "multicast" in client.run("run", "--rm", "--mac-address", "01:00:5e:00:00:01", *sh("true")).stderr


CONFLICTS = (
    (("--dns", "192.0.2.1"), "dns and the network mode"),
    (("--add-host", "x:192.0.2.1"), "custom host-to-IP mapping and the network mode"),
    (("--mac-address", "02:42:00:00:00:08"), "mac-address and the network mode"),
    (("-p", "80:80"), "port publishing and the container type network mode"),
    (("--expose", "80"), "port exposing and the container type network mode"),
    (("--hostname", "x"), "hostname and the network mode"),
)


def test_what_another_containers_network_cannot_have_is_refused_and_what_the_hosts_discards_is_told(client, engine):
    engine.ok("run", "-d", "--name", "here", *sh("sleep 1000"))
    for words, message in CONFLICTS:
        done = client.run("run", "--rm", "--network", "container:here", *words, *sh("true"))
        assert done.returncode == 125
        # Since docker 25 the command puts an address into the endpoint's settings, which are refused as such.
        assert (f"conflicting options: {message}" in done.stderr
                or (words[0] == "--mac-address" and "need a network of their own" in done.stderr)), done.stderr
    assert "mac-address and the network mode" in client.run(
        "run", "--rm", "--network", "host", "--mac-address", "02:42:00:00:00:08", *sh("true")).stderr
    done = client.run("run", "--rm", "--network", "host", "-p", "80:80", *sh("true"))
    assert done.returncode == 0
    assert "Published ports are discarded when using host network mode" in done.stderr
    fixed = subnet_of(engine, "bridge") + ".200"
    done = client.run("run", "--rm", "--network", "bridge", "--ip", fixed, *sh("true"))
    assert "user specified IP address is supported on user defined networks only" in done.stderr


ERRORS = (
    (("ls", "--filter", "type=x"), "invalid filter: 'type'='x'"),
    (("ls", "--filter", "dangling=x"), "invalid filter 'dangling=[x]'"),
    (("ls", "--filter", "nope=1"), "invalid filter 'nope'"),
    (("create", "--driver", "host", "x"), 'only one instance of "host" network is allowed'),
    (("create", "--driver", "null", "x"), 'only one instance of "null" network is allowed'),
    (("create", "--subnet", "10.85.0.1/24", "x"), "invalid subnet 10.85.0.1/24: it should be 10.85.0.0/24"),
    (("connect", "host", "here"), "cannot be disconnected from host network or connected to host network"),
    (("connect", "none", "here"), "multiple networks with one of the networks in private (none) mode"),
    (("connect", "--ip", "192.0.2.1", "blue", "here"), "It does not belong to any of this network's subnets"),
    (("connect", "nope", "neither"), "No such container: neither"),
)


def test_errors_are_in_dockers_words(client, engine):
    engine.ok("run", "-d", "--name", "here", *sh("sleep 1000"))
    for words, message in ERRORS:
        done = client.run("network", *words)
        assert done.returncode == 1
        assert message in done.stderr


def test_a_user_without_privileges_has_every_port_and_ping_on_a_network_of_its_own(client, engine):
    unprivileged = "run", "--rm", "--user", "1000", "--cap-drop", "ALL"
    for network in ("bridge", "none"):
        script = "httpd -p 80 -h /etc && cat /proc/sys/net/ipv4/ping_group_range"
        assert client.ok(*unprivileged, "--network", network, *sh(script)).split() == ["0", "2147483647"]
    low = "net.ipv4.ip_unprivileged_port_start=1024"
    assert client.run(*unprivileged, "--sysctl", low, *sh("httpd -p 80 -h /etc")).returncode == 1


def test_a_full_host_name_is_found_by_its_first_label_too(engine):
    names = engine.ok("run", "--rm", "--hostname", "web.example.org", "busybox", "cat", "/etc/hosts").splitlines()[-1]
    assert names.split()[1:] == ["web.example.org", "web"]


def test_a_network_may_be_called_by_one_letter(client, engine):
    client.ok("network", "create", "x")
    assert client.ok("network", "ls", "--filter", "name=^x$", "--format", "{{.Name}}") == "x"
    client.ok("network", "rm", "x")
