"""Networks with options and IPv6, by docker's command and by pier's."""

import json
import socket
import urllib.request

import pytest

from tests import world
from tests.engine import sh

SERVER = "echo hello > /index.html; httpd -f -p 80 -h /"


@pytest.fixture(autouse=True)
def cleaned(engine):
    yield
    engine.remove_everything()
    for name in ("dual", "six", "ranged", "shaped"):
        engine.docker("network", "rm", name)


def shown(client, name):
    return json.loads(client.ok("network", "inspect", name))[0]


def fetched(address, port):
    host = f"[{address}]" if ":" in address else address
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/", timeout=5) as answer:
            return answer.read().decode().strip()
    except OSError:
        return None


def test_a_network_of_both_ip_versions_publishes_on_both_and_shows_it(client, engine):
    client.ok("network", "create", "--ipv6", "--subnet", "10.85.0.0/24", "--subnet", "fd85::/64", "dual")
    network = shown(client, "dual")
    assert (network["EnableIPv4"], network["EnableIPv6"]) == (True, True)
    assert network["IPAM"]["Config"] == [
        {"Subnet": "10.85.0.0/24", "Gateway": "10.85.0.1"}, {"Subnet": "fd85::/64", "Gateway": "fd85::1"}]
    client.ok("run", "-d", "--name", "web", "--network", "dual", "--ip6", "fd85::77", "-p", "80", *sh(SERVER))
    details = engine.inspect("web")["NetworkSettings"]
    endpoint = details["Networks"]["dual"]
    assert (endpoint["GlobalIPv6Address"], endpoint["GlobalIPv6PrefixLen"]) == ("fd85::77", 64)
    assert (endpoint["IPv6Gateway"], endpoint["IPAMConfig"]) == ("fd85::1", {"IPv6Address": "fd85::77"})
    first, second = details["Ports"]["80/tcp"]
    assert (first["HostIp"], second["HostIp"]) == ("0.0.0.0", "::")
    assert first["HostPort"] == second["HostPort"]
    port = first["HostPort"]
    assert fetched("127.0.0.1", port) == fetched(world.ADDRESS6, port) == "hello"
    assert client.ok("port", "web").splitlines()[0] == f"80/tcp -> 0.0.0.0:{port}"
    assert f"::]:{port}->80/tcp" in client.ok("ps", "--format", "{{.Ports}}").replace(":::", "::]:")
    assert "fd85::77\t" in engine.ok("exec", "web", "cat", "/etc/hosts")
    other = client.ok("run", "--rm", "--network", "dual", *sh("wget -qO- http://[fd85::77]/"))
    assert other.strip() == "hello"
    assert shown(client, "dual")["Containers"][engine.inspect("web")["Id"]]["IPv6Address"] == "fd85::77/64"
    engine.ok("restart", "-t", "0", "web")
    assert engine.inspect("web")["NetworkSettings"]["Networks"]["dual"]["GlobalIPv6Address"] == "fd85::77"


def test_a_network_without_ipv4_has_ipv6_alone(client, engine):
    assert engine.pier("network", "create", "--ipv6", "--ipv4=false", "six").returncode == 0
    network = shown(client, "six")
    assert (network["EnableIPv4"], network["EnableIPv6"], len(network["IPAM"]["Config"])) == (False, True, 1)
    assert network["IPAM"]["Config"][0]["Subnet"].startswith("fd")
    found = client.ok("run", "--rm", "--network", "six", *sh("ip -o address show dev eth0"))
    assert "inet6 fd" in found
    assert "inet " not in found
    done = client.run("run", "--rm", "--network", "six", "-p", "127.0.0.1::80", "busybox", "true")
    assert done.returncode == 125
    assert "no IPv4 address" in done.stderr


def test_what_cannot_be_published_at_the_ipv6_loopback_is_refused_by_name(client, engine):
    client.ok("network", "create", "--ipv6", "dual")
    done = client.run("run", "--rm", "--network", "dual", "-p", "[::1]::80", "busybox", "true")
    assert done.returncode == 125
    assert "::1" in done.stderr


def test_ranges_and_auxiliary_addresses_are_kept_and_shown(client, engine):
    client.ok("network", "create", "--subnet", "10.86.0.0/24", "--ip-range", "10.86.0.8/29", "--gateway", "10.86.0.254",
              "--aux-address", "router=10.86.0.8", "ranged")
    assert shown(client, "ranged")["IPAM"]["Config"] == [{
        "Subnet": "10.86.0.0/24", "IPRange": "10.86.0.8/29", "Gateway": "10.86.0.254",
        "AuxiliaryAddresses": {"router": "10.86.0.8"}}]
    client.ok("run", "-d", "--name", "here", "--network", "ranged", *sh("sleep 1000"))
    endpoint = engine.inspect("here")["NetworkSettings"]["Networks"]["ranged"]
    assert (endpoint["IPAddress"], endpoint["Gateway"]) == ("10.86.0.9", "10.86.0.254")
    assert "already in use" in client.run(
        "run", "--rm", "--network", "ranged", "--ip", "10.86.0.8", "busybox", "true").stderr


def test_options_as_docker_spells_them_shape_the_network(client, engine):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    client.ok(
        "network", "create", "-o", "com.docker.network.bridge.name=br-shaped", "-o",
        "com.docker.network.container_iface_prefix=net", "-o", "com.docker.network.driver.mtu=1400", "-o",
        "com.docker.network.bridge.host_binding_ipv4=127.0.0.1", "shaped")
    assert shown(client, "shaped")["Options"]["com.docker.network.bridge.name"] == "br-shaped"
    client.ok("run", "-d", "--name", "web", "--network", "shaped", "-p", f"{port}:80", *sh(SERVER))
    assert "mtu 1400" in engine.ok("exec", "web", "ip", "link", "show", "dev", "net0")
    assert engine.inspect("web")["NetworkSettings"]["Ports"]["80/tcp"] == [
        {"HostIp": "127.0.0.1", "HostPort": str(port)}]
    assert fetched("127.0.0.1", port) == "hello"
    assert fetched(world.ADDRESS, port) is None
    done = client.run("network", "create", "-o", "com.docker.network.bridge.nope=1", "six")
    assert done.returncode == 1
    assert "com.docker.network.bridge.nope" in done.stderr
