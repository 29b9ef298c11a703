"""Namespaces that containers share: another's processes, semaphores and /dev/shm, or the host's."""

import os
import signal
from pathlib import Path

import pytest

from tests.engine import sh, wait_until


def namespace(engine, name, kind):
    return os.readlink(f"/proc/{engine.inspect(name)['State']['Pid']}/ns/{kind}")


def test_another_containers_processes_are_seen_and_signalled(client, engine):
    client.ok("run", "-d", "--name", "donor", *sh("trap 'exit 7' TERM; while :; do sleep 0.05; done"))
    assert "sleep 0.05" in client.ok("run", "--rm", "--pid", "container:donor", "busybox", "ps")
    client.ok("run", "-d", "--name", "guest", "--pid", "container:donor", "busybox", "sleep", "1000")
    assert namespace(engine, "guest", "pid") == namespace(engine, "donor", "pid")
    assert namespace(engine, "guest", "ipc") != namespace(engine, "donor", "ipc")
    assert engine.inspect("guest")["HostConfig"]["PidMode"] == "container:donor"
    client.ok("stop", "-t", "0", "guest")
    client.ok("start", "guest")
    engine.until_catches("donor", signal.SIGTERM)
    client.ok("exec", "guest", "kill", "1")  # with its first process all of a pid namespace ends
    assert client.ok("wait", "donor") == "7"
    assert client.ok("wait", "guest") == "137"
    assert "cannot join PID of a non running container" in client.run("start", "guest").stderr


def test_shared_memory_is_shared_where_the_donor_lets_it(client, engine):
    client.ok("run", "-d", "--name", "donor", "--ipc", "shareable", "--shm-size", "2m",
              *sh("echo hello > /dev/shm/word; sleep 1000"))
    wait_until(lambda: engine.docker("exec", "donor", "test", "-s", "/dev/shm/word").returncode == 0)
    script = sh("cat /dev/shm/word; echo back > /dev/shm/reply; df -k /dev/shm | tail -1 | awk '{print $2}'")
    client.ok("run", "-d", "--name", "guest", "--ipc", "container:donor", "busybox", "sleep", "1000")
    assert client.ok("exec", "guest", *script[1:]).splitlines()[:2] == ["hello", "2048"]
    assert client.ok("exec", "donor", "cat", "/dev/shm/reply") == "back"
    assert namespace(engine, "guest", "ipc") == namespace(engine, "donor", "ipc")
    client.ok("rm", "-f", "donor")
    assert client.ok("exec", "guest", "cat", "/dev/shm/word") == "hello"
    client.ok("run", "-d", "--name", "alone", "busybox", "sleep", "1000")
    assert "non-shareable IPC" in client.run("run", "--rm", "--ipc", "container:alone", "busybox", "true").stderr


def test_a_guest_is_restarted_by_its_policy_with_its_donor(client, engine):
    client.ok("run", "-d", "--name", "donor", "--ipc", "shareable", "busybox", "sleep", "1000")
    client.ok("run", "-d", "--name", "guest", "--restart", "on-failure:1", "--ipc", "container:donor",
              *sh("[ -e /dev/shm/been ] && sleep 1000; touch /dev/shm/been; exit 1"))
    wait_until(lambda: engine.inspect("guest")["RestartCount"] == 1
               and engine.inspect("guest")["State"]["Status"] == "running")
    assert namespace(engine, "guest", "ipc") == namespace(engine, "donor", "ipc")


def test_the_hosts_shared_memory_and_none(client):
    place = Path("/dev/shm/of-the-host")
    place.write_text("host")
    try:
        assert client.ok("run", "--rm", "--ipc", "host", "busybox", "cat", str(place)) == "host"
    finally:
        place.unlink()
    assert client.ok("run", "--rm", "--ipc", "none", *sh("grep -c ' /dev/shm ' /proc/mounts || true")) == "0"


@pytest.mark.parametrize("flag", ["--ipc", "--pid"])
def test_who_is_not_there_is_named(client, flag):
    done = client.run("create", flag, "container:nobody", "busybox")
    assert done.returncode == 1
    assert "No such container: nobody" in done.stderr
