"""Ports of a running container, published and withdrawn."""

import socket
import urllib.request

import pytest

from tests.engine import sh, wait_until

SERVER = "echo hello > /index.html; httpd -f -p 80 -h / & httpd -f -p 81 -h /"


@pytest.fixture(autouse=True)
def cleaned(engine):
    yield
    engine.remove_everything()


def free_port():
    with socket.socket() as sock:
        sock.bind(("", 0))
        return sock.getsockname()[1]


def fetched(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return answer.read().decode().strip()
    except OSError:
        return None


def serves(port):
    """Until the server in the container answers there; what has to be closed is asked by ``fetched`` afterwards."""
    return wait_until(lambda: fetched(port) == "hello", what=f"an answer at {port}")


def bindings(engine, name="web"):
    return engine.inspect(name)["NetworkSettings"]["Ports"]


def test_ports_of_a_running_container_come_and_go(engine):
    first, second = free_port(), free_port()
    engine.ok("run", "-d", "--name", "web", "-p", f"{first}:80", *sh(SERVER))
    pid = engine.inspect("web")["State"]["Pid"]
    done = engine.pier("port", "add", "web", f"127.0.0.1:{second}:81")
    assert done.returncode == 0, done.stderr
    assert f"81/tcp -> 127.0.0.1:{second}" in done.stdout
    assert serves(first)
    assert serves(second)
    assert f"81/tcp -> 127.0.0.1:{second}" in engine.ok("port", "web")
    assert engine.pier("port", "rm", "web", "80").returncode == 0
    assert fetched(first) is None
    assert serves(second)
    assert list(engine.inspect("web")["HostConfig"]["PortBindings"]) == ["81/tcp"]
    with socket.socket() as sock:
        sock.bind(("", first))  # it is anybody's again
    engine.ok("restart", "-t", "0", "web")
    assert serves(second)
    assert engine.inspect("web")["State"]["Pid"] != pid
    assert engine.pier("system", "fsck").returncode == 0


def test_a_host_port_moves_to_another_port_of_the_container_and_netd_may_die(engine):
    port = free_port()
    engine.ok("run", "-d", "--name", "web", "-p", f"{port}:82", *sh(SERVER))
    assert fetched(port) is None
    assert engine.pier("port", "add", "web", str(80)).returncode == 0
    engine.kill("netd")
    engine.wait_supervised()
    (entry,) = bindings(engine)["80/tcp"]
    assert serves(entry["HostPort"])
    assert engine.pier("port", "rm", "web", f"{port}:80").returncode == 1, "that one leads elsewhere"
    assert engine.pier("port", "rm", "web", f"{entry['HostPort']}:80").returncode == 0
    assert "80/tcp" not in bindings(engine)


def test_a_taken_port_is_refused_and_nothing_changes(engine):
    port = free_port()
    engine.ok("run", "-d", "--name", "web", "-p", f"{port}:80", *sh(SERVER))
    before = bindings(engine)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = engine.pier("port", "add", "web", f"{taken.getsockname()[1]}:81")
        assert done.returncode == 1
        assert "port is already allocated" in done.stderr
    assert engine.pier("port", "rm", "web", "99").returncode == 1
    assert bindings(engine) == before
    assert serves(port)


def test_a_container_that_does_not_run_has_them_at_its_start(engine):
    port = free_port()
    engine.ok("create", "--name", "web", *sh(SERVER))
    assert engine.pier("port", "add", "web", f"{port}:80").returncode == 0
    engine.ok("start", "web")
    assert serves(port)
    engine.ok("run", "-d", "--name", "plain", "--network", "none", *sh("sleep 1000"))
    assert engine.pier("port", "add", "plain", "80").returncode == 1


def test_ports_are_published_on_the_network_that_has_a_way_out_and_follow_it(engine):
    """As compose of the first version joins networks: each is left and joined again before the start."""
    port = free_port()
    engine.ok("network", "create", "--internal", "inner")
    engine.ok("network", "create", "outer")
    engine.ok("network", "create", "other")
    engine.ok("create", "--name", "web", "--network", "inner", "-p", f"{port}:80", *sh(SERVER))
    engine.ok("network", "disconnect", "inner", "web")
    engine.ok("network", "connect", "--alias", "w", "inner", "web")
    engine.ok("network", "connect", "outer", "web")
    engine.ok("start", "web")
    assert serves(port)
    engine.ok("network", "connect", "other", "web")
    engine.ok("network", "disconnect", "outer", "web")
    assert serves(port), "the ports have moved"
    engine.ok("network", "disconnect", "other", "web")
    assert fetched(port) is None
    engine.ok("network", "connect", "outer", "web")
    assert serves(port)
    engine.remove_everything()
    engine.ok("network", "rm", "inner", "outer", "other")
