"""The launcher's supervisor, over real processes: restarts, order of the stop, the listener handed over, its death."""

import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys

import pytest

from chassis.instance import instance
from launcher.programs import environment, programs


class Tree:
    """A running supervisor, and what it says line by line."""

    def __init__(self, directory, *arguments):
        self.run = directory / "run"
        self.logs = directory / "root" / "log"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.launcher.harness", directory, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, pattern):
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"it ended without saying {pattern}")

    def pid(self, name):
        return int(self.wait_for(rf"{name} started, pid (\d+)")[1])


@pytest.fixture
def tree(tmp_path):
    trees = []

    def start(*arguments):
        trees.append(Tree(tmp_path, *arguments))
        return trees[-1]

    yield start
    for each in trees:
        each.process.kill()
        each.process.communicate()


def wait_gone(pid):
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], 60)[0], f"{pid} is still there"
    finally:
        os.close(fd)


def test_a_program_that_is_killed_comes_back(tree):
    running = tree("a=exec sleep 600")
    first = running.pid("a")
    os.kill(first, signal.SIGKILL)
    assert running.wait_for(r"a ended \((.*)\), again")[1] == "killed by signal 9"
    assert running.pid("a") != first


def test_a_program_that_keeps_failing_waits_longer_each_time(tree):
    running = tree("a=exit 3")
    delays = [float(running.wait_for(r"exit code 3\), again in ([\d.]+) s")[1]) for _ in range(4)]
    assert delays == [0.1, 0.2, 0.4, 0.8]


def test_stopping_goes_in_reverse_order_and_leaves_no_process(tree, tmp_path):
    order = tmp_path / "order"
    trap = f"trap 'kill $!; echo NAME >>{order}; exit 0' TERM; sleep 600 & echo ready >>{tmp_path}/NAME; wait"
    for name in "abc":
        os.mkfifo(tmp_path / name)
    running = tree(*[f"{name}={trap.replace('NAME', name)}" for name in "abc"])
    pids = [running.pid(name) for name in "abc"]
    for name in "abc":
        (tmp_path / name).read_text()
    running.process.terminate()
    running.process.communicate(timeout=60)
    for pid in pids:
        wait_gone(pid)
    assert order.read_text().split() == ["c", "b", "a"]
    assert not list(running.run.glob("*.pid"))


def test_killing_the_launcher_stops_its_programs(tree):
    running = tree("a=exec sleep 600", "b=exec sleep 600")
    pids = [running.pid("a"), running.pid("b")]
    running.process.kill()
    for pid in pids:
        wait_gone(pid)


def test_the_gateway_is_handed_the_listening_socket_and_others_are_not(tree, tmp_path):
    os.mkfifo(tmp_path / "ready")
    os.mkfifo(tmp_path / "other-ready")
    running = tree(
        f"other=ls -l /proc/$$/fd; echo >{tmp_path}/other-ready; exec sleep 600",
        f'gateway=echo "$LISTEN_FDS $((LISTEN_PID == $$))"; ls -l /proc/$$/fd; echo >{tmp_path}/ready; exec sleep 600',
    )
    (tmp_path / "other-ready").read_text()
    running.pid("gateway")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(running.run / "pier.sock"))
    (tmp_path / "ready").read_text()
    assert stat.S_IMODE((running.run / "pier.sock").stat().st_mode) == 0o660
    text = (running.logs / "gateway.log").read_text()
    assert text.startswith("2 1\n")
    assert text.count("socket:") == 2
    assert "socket:" not in (running.logs / "other.log").read_text()


def test_services_get_a_clean_environment():
    given = {"PATH": "/bin", "PIER_FAULT": "x", "SECRET": "s", "HTTPS_PROXY": "p"}
    assert environment(given) == {"PATH": "/bin", "PIER_FAULT": "x", "HTTPS_PROXY": "p"}


def test_the_zygote_starts_first_and_the_gateway_last():
    names = [program.name for program in programs(instance("unit"), None)]
    assert names == ["zygote", "resolver", "imaged", "netd", "execd", "buildd", "gateway"]
    listening = [program.name for program in programs(instance("unit"), None) if program.listens]
    assert listening == ["imaged", "netd", "execd", "buildd", "gateway"]
