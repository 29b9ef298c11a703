"""What the world promises: read the package's text beside this. A world inside this one leaves this one as it was."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests import facts, world
from tests.world import cgroups, outside

PROJECT = Path(__file__).parents[3]


def in_a_world(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.world", "--", *command], cwd=PROJECT, capture_output=True, text=True, check=False
    )


def test_the_exit_code_is_the_commands() -> None:
    assert in_a_world("sh", "-c", "exit 7").returncode == 7


def test_a_command_that_a_signal_ended_exits_with_128_and_the_signal() -> None:
    assert in_a_world("sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_a_command_that_does_not_exist_is_said() -> None:
    ran = in_a_world("/no/such/program")
    assert ran.returncode == 125
    assert "No such file" in ran.stderr


def test_a_signal_to_the_keeper_reaches_the_command() -> None:
    command = [sys.executable, "-m", "tests.world", "--", "sh", "-c", "trap 'exit 42' TERM; echo up; sleep 1000 & wait"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as keeper:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == b"up\n"
        keeper.terminate()
        assert keeper.wait() == 42


def test_init_reaps_orphans() -> None:
    ran = in_a_world("sh", "-c", "(true & ) ; (sleep 0.05 & ); sleep 0.3; ps -e -o stat=")
    assert ran.returncode == 0
    assert "Z" not in ran.stdout


def test_a_world_changes_nothing_around_itself() -> None:
    before = facts.take()
    hostname = socket.gethostname()
    forward = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    script = """
        set -e
        mount -t tmpfs none /mnt; mkdir /tmp/x /run/x /var/lib/x; touch /dev/shm/x
        ip link add leak type bridge; nft 'table ip leak {}'; sysctl -q -w net.ipv4.ip_forward=1; hostname other
        for parent in /sys/fs/cgroup/*/ ; do mkdir -p $parent/pier/deep/er; done
        sleep 1000 &
    """
    ran = in_a_world("sh", "-c", script)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert facts.take() == before
    assert socket.gethostname() == hostname
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == forward


def test_what_a_killed_keeper_left_is_removed_by_the_next() -> None:
    before = facts.take()
    command = [sys.executable, "-m", "tests.world", "--", "sh", "-c", "echo up; sleep 1000"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as keeper:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == b"up\n"
        keeper.kill()
        # The pipe ends when the last process of the world has died.
        assert keeper.stdout.read() == b""
    assert facts.take() != before
    assert in_a_world("true").returncode == 0
    assert facts.take() == before


def test_worlds_stand_beside_each_other() -> None:
    command = [sys.executable, "-m", "tests.world", "--", "sh", "-c", "echo up; read line; exit 3"]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        assert first.stdout.readline() == b"up\n"
        assert in_a_world("sh", "-c", "exit 4").returncode == 4
        first.stdin.write(b"end\n")
        first.stdin.close()
        assert first.wait() == 3


@pytest.mark.parametrize("path", ["/etc", "/usr", "/var", "/opt", "/var/lib/dpkg"])
def test_the_hosts_files_cannot_be_changed(path: str) -> None:
    with pytest.raises(OSError, match="Read-only"):
        (Path(path) / "changed").touch()


def test_every_hierarchy_is_there_and_this_process_is_near_its_root() -> None:
    found = cgroups.hierarchies(Path("/proc/self/mountinfo").read_text())
    assert found
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        assert line.rpartition(":")[2] in ("/", "/init")
    for hierarchy in found:
        assert (hierarchy.mount / "cgroup.procs").exists()


# As it was when the tests were collected: netd switches forwarding on in others, and leaves it on as Docker does.
_LINKS = sorted(os.listdir("/sys/class/net"))
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward").read_text()


def test_only_loopback_and_the_wire_are_there_and_nothing_is_forwarded() -> None:
    assert _LINKS == ["eth0", "lo"]
    assert _FORWARDING == "0\n"


@pytest.mark.parametrize("address", [world.GATEWAY, world.FAR, world.NAMESERVER, world.GATEWAY6])
def test_the_outside_host_is_reached_and_sees_our_address(address: str) -> None:
    with outside.listen(address) as listener:
        peers: list[str] = []

        def accept() -> None:
            connection, peer = listener.accept()
            with connection:
                peers.append(peer[0])
                connection.sendall(b"far away")

        thread = threading.Thread(target=accept)
        thread.start()
        with socket.create_connection((address, listener.getsockname()[1]), timeout=5) as connection:
            assert connection.recv(100) == b"far away"
        thread.join()
    assert peers == [world.ADDRESS6 if ":" in address else world.ADDRESS]


def test_the_outside_host_knows_no_way_to_what_is_behind_us() -> None:
    with outside.open_socket(kind=socket.SOCK_DGRAM) as sender, pytest.raises(OSError, match="unreachable"):
        sender.connect(("172.17.0.2", 9))


def test_the_name_server_is_the_outside_host() -> None:
    assert Path("/etc/resolv.conf").read_text() == f"nameserver {world.NAMESERVER}\n"
