"""`pier system reload`: what the file says now counts, and nothing is restarted."""

import ipaddress
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from chassis.instance import SERVICES
from deploy.busybox_image import busybox_image
from tests.engine import wait_until
from tests.images import pack

LIVE_NET = ipaddress.IPv4Network("10.217.0.0/16")


@pytest.fixture
def file(engine):
    """The engine's configuration, empty again afterwards."""
    path = Path(engine.service_environment["PIER_CONFIG"])
    yield path
    path.write_text("")
    assert engine.pier("system", "reload").returncode == 0


def pids(engine):
    return [engine.pid(service) for service in SERVICES]


def settings(engine):
    """What counts, by service and key, as soon as all services have found the time to tell."""
    done = wait_until(lambda: each if (each := engine.pier("system", "config", "show")).returncode == 0 else None, 60)
    rows = [line.split() for line in done.stdout.splitlines()]
    return {(row[0], row[1]): row[2] for row in rows}


def test_a_new_network_takes_its_subnet_from_the_new_pools(engine, file):
    before = pids(engine)
    engine.ok("network", "create", "before")
    file.write_text(f'[netd]\naddress_pools = ["{LIVE_NET}:24"]\n')
    done = engine.pier("system", "reload", "netd")
    assert (done.returncode, done.stdout) == (0, f"netd: address_pools is {LIVE_NET}:24 (file {file})\n")
    engine.ok("network", "create", "after")
    subnets = {name: ipaddress.IPv4Network(engine.inspect(name)["IPAM"]["Config"][0]["Subnet"])
               for name in ("before", "after")}
    assert subnets["after"].subnet_of(LIVE_NET)
    assert not subnets["before"].subnet_of(LIVE_NET)
    engine.ok("network", "rm", "before", "after")
    assert pids(engine) == before


def test_a_pull_asks_where_the_new_directory_of_registries_says(engine, file, registry, tmp_path):
    registry.push("moved", "1", pack(busybox_image()))
    (tmp_path / "registry.invalid").mkdir()
    (tmp_path / "registry.invalid" / "hosts.toml").write_text(f'server = "http://{registry.host}"\n')
    image = "registry.invalid/moved:1"
    file.write_text(f'[imaged]\nregistry_hosts = "{tmp_path}"\n')
    engine.pier("system", "reload", "imaged")
    engine.ok("pull", image)
    engine.ok("rmi", image)


def test_all_services_reload_by_one_signal_to_their_launcher(engine, file):
    file.write_text('[pier]\nlog_level = "warning"\n')
    os.kill(engine.pid("launcher"), signal.SIGHUP)
    wait_until(lambda: {settings(engine)[service, "log_level"] for service in SERVICES} == {"warning"}, 60)


def test_what_needs_a_restart_is_named_and_counts_after_it(engine, file):
    file.write_text("[netd]\nspare_namespaces = 3\n")
    done = engine.pier("system", "reload")
    assert done.returncode == 0
    assert "netd: spare_namespaces needs a restart\n" in done.stdout
    assert "gateway: nothing has changed\n" in done.stdout
    assert settings(engine)["netd", "spare_namespaces"] == "4"


@pytest.mark.parametrize(("text", "field"), [
    ('[netd]\naddress_pools = ["10.0.0.0:8:x"]\n', "address_pools"), ("[netd]\nspare_namespaces = true\n",
                                                                     "spare_namespaces"),
    ("[netd]\nno_such_key = 1\n", "no_such_key"), ("[netd\n", "pier.toml"),
])
def test_a_mistake_in_the_file_is_named_and_the_old_configuration_goes_on(engine, file, text, field):
    before = settings(engine)
    file.write_text(text)
    done = engine.pier("system", "reload", "netd")
    assert done.returncode == 1
    assert done.stderr.startswith("netd: ")
    assert field in done.stderr
    file.write_text("")
    assert settings(engine) == before


def test_what_each_container_uses_is_told_until_nobody_wants_it(engine, file):
    engine.ok("run", "-d", "--name", "told", "-m", "64m", "busybox", "sh", "-c", "while :; do :; done")
    of = '{name="told",namespace="docker"}'
    assert engine.metric("execd", f"pier_container_memory_limit_bytes{of}") == 64 << 20
    assert engine.metric("execd", f"pier_container_processes{of}") == 1
    assert 0 < engine.metric("execd", f"pier_container_memory_bytes{of}") < 64 << 20
    wait_until(lambda: engine.metric("execd", f"pier_container_cpu_seconds_total{of}") > 0.01)
    address = engine.inspect("told")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anybody:
        wait_until(lambda: anybody.sendto(bytes(1000), (address, 9)) and
                   engine.metric("execd", f"pier_container_network_receive_bytes_total{of}") > 1000)
    file.write_text("[execd]\ncontainer_metrics = false\n")
    engine.pier("system", "reload", "execd")
    assert engine.metric("execd", f"pier_container_processes{of}") is None
    file.write_text("")
    engine.pier("system", "reload", "execd")
    assert engine.metric("execd", f"pier_container_processes{of}") == 1
    engine.ok("kill", "told")
    wait_until(lambda: engine.metric("execd", f"pier_container_processes{of}") is None)


def test_a_reload_is_an_event_of_the_daemon(engine, file):
    began = time.time()
    file.write_text("[execd]\nkill_within = 11\n")
    engine.pier("system", "reload", "execd")
    lines = engine.ok("events", "--since", str(int(began)), "--until", str(int(time.time()) + 1), "--filter",
                      "type=daemon", "--format", "{{.Type}} {{.Action}} {{.Actor.Attributes.service}} "
                      "{{.Actor.Attributes.kill_within}}").splitlines()
    assert "daemon reload execd 11.0" in lines
    identity = engine.ok("info", "--format", "{{.ID}}")
    window = ("--since", str(int(began)), "--until", str(int(time.time()) + 1))
    assert "reload" in engine.ok("events", *window, "--filter", f"daemon={identity}")
    assert engine.ok("events", *window, "--filter", "daemon=another") == ""


def test_no_other_word_is_a_service(engine):
    done = engine.pier("system", "reload", "nope")
    assert done.returncode == 125
    assert done.stderr == "no such service: nope\n"
