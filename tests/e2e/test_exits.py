"""Exit codes, signals, and what a start that fails leaves behind: docker's codes and essential words."""

import signal
import subprocess

import pytest

from tests.e2e.conftest import TODAYS_TOO
from tests.engine import sh, wait_until


@TODAYS_TOO
@pytest.mark.parametrize("code", [0, 1, 7, 125, 255])
def test_the_commands_exit_code_is_the_clients(client, code):
    assert client.run("run", "--rm", *sh(f"exit {code}")).returncode == code


def test_a_command_that_a_signal_ends_gives_128_and_the_signal(client):
    """From outside: the kernel ignores a first process's KILL to itself (pid_namespaces(7))."""
    run = client.start("run", "--rm", "--name", "doomed", *sh("echo ready; exec sleep 600"),
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert run.stdout.readline() == b"ready\n"
    client.ok("kill", "doomed")
    assert run.wait(20) == 137
    run.stdout.close()


@TODAYS_TOO
@pytest.mark.parametrize(
    "arguments,code,words",
    [
        (("busybox", "/no/such"), 127, "no such file or directory"),
        (("busybox", "nosuchcommand"), 127, "executable file not found"),
        (("busybox", "/etc"), 126, "permission denied"),
        (("busybox", "/etc/passwd"), 126, "permission denied"),
    ],
)
def test_a_command_that_cannot_be_run_is_told_from_one_that_fails(client, arguments, code, words):
    done = client.run("run", "--name", "bad", *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert client.engine.inspect("bad")["State"]["Status"] == "created"
    assert client.run("run", "--rm", *arguments).returncode == code
    assert client.engine.ok("ps", "-aq", "--filter", "status=running") == ""


def test_exec_tells_what_cannot_be_run(client):
    client.ok("run", "-d", "--name", "base", "busybox", "sleep", "600")
    assert client.run("exec", "base", "nosuchcommand").returncode == 127
    assert client.run("exec", "base", "/etc").returncode == 126
    assert client.run("exec", "-w", "/no/such", "base", "pwd").returncode == 126
    stranger = client.run("exec", "-u", "nosuch", "base", "id")
    assert stranger.returncode == 126
    assert stranger.stdout.strip() == "unable to find user nosuch: no matching entries in passwd file"
    assert client.run("exec", "base", "sh", "-c", "exit 6").returncode == 6
    assert client.run("exec", "-d", "base", "touch", "/made").returncode == 0
    wait_until(lambda: client.run("exec", "base", "test", "-e", "/made").returncode == 0)


@TODAYS_TOO
def test_signals_to_the_client_reach_the_container(client):
    run = client.start("run", "--rm", *sh("trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done"),
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert run.stdout.readline() == b"ready\n"
    run.send_signal(signal.SIGTERM)
    assert run.wait(20) == 9
    run.stdout.close()


def test_stop_sends_its_signal_and_then_kills(client):
    client.ok("run", "-d", "--name", "polite", *sh("trap 'exit 3' TERM; while :; do sleep 0.01; done"))
    client.ok("run", "-d", "--name", "deaf", *sh("trap '' TERM; while :; do sleep 0.01; done"))
    client.engine.until_catches("polite", signal.SIGTERM)
    client.ok("stop", "polite")
    client.ok("stop", "-t", "0", "deaf")
    assert client.ok("wait", "polite") == "3"
    assert client.ok("wait", "deaf") == "137"


def test_kill_sends_any_signal_by_name_or_number(client):
    for given in ("USR1", "SIGUSR1", "10"):
        client.ok("run", "-d", "--name", "target", *sh("trap 'exit 10' USR1; while :; do sleep 0.01; done"))
        client.engine.until_catches("target", signal.SIGUSR1)
        client.ok("kill", "-s", given, "target")
        assert client.ok("wait", "target") == "10"
        client.ok("rm", "target")


@TODAYS_TOO
def test_wait_of_a_removed_container_gives_its_code(client):
    run = client.start("run", "--rm", "--name", "brief", *sh("sleep 0.3; exit 8"), stdin=subprocess.DEVNULL)
    assert run.wait(20) == 8
    wait_until(lambda: client.engine.ok("ps", "-aq") == "")


@TODAYS_TOO
def test_a_container_is_started_again_with_its_files(client):
    client.ok("run", "--name", "again", *sh("cat /count 2>/dev/null; echo x >>/count"))
    assert client.ok("start", "-a", "again") == "x"
    assert client.ok("start", "-a", "again") == "x\nx"
