"""Bytes through run, exec and attach: whole, in order, to the end, whoever is slow."""

import hashlib
import os
import random
import subprocess

import pytest

from tests.e2e.conftest import TODAYS_TOO
from tests.engine import sh, wait_until

FAST_RUNS = int(os.environ.get("PIER_TEST_FAST_RUNS", "100"))
SLOW_MEGABYTES = int(os.environ.get("PIER_TEST_SLOW_MEGABYTES", "64"))


def test_ten_megabytes_come_back_through_cat_bit_for_bit(client):
    data = random.Random(7).randbytes(10 << 20)
    done = client.run("run", "--rm", "-i", "busybox", "cat", input=data, text=False)
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_ten_megabytes_come_back_through_exec_bit_for_bit(client):
    client.ok("run", "-d", "--name", "base", "busybox", "sleep", "600")
    data = random.Random(8).randbytes(10 << 20)
    done = client.run("exec", "-i", "base", "cat", input=data, text=False)
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


@TODAYS_TOO
def test_the_end_of_input_ends_cat_and_its_output_still_comes(client):
    done = client.run("run", "--rm", "-i", *sh("cat; echo after"), input="before\n")
    assert done.stdout == "before\nafter\n"


@TODAYS_TOO
def test_standard_output_and_error_are_kept_apart(client):
    done = client.run("run", "--rm", *sh("echo out; echo err >&2"))
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_output_of_a_command_that_ends_at_once_is_never_lost(engine):
    """Alternating the commands; more with PIER_TEST_FAST_RUNS."""
    for number in range(FAST_RUNS):
        argv = engine.argv(("docker", "pier")[number % 2])
        done = engine.run([*argv, "run", "--rm", "busybox", "echo", f"number {number}"])
        assert (done.returncode, done.stdout) == (0, f"number {number}\n"), done.stderr


@pytest.mark.parametrize("driver", ["json-file", "none"])
def test_random_bytes_into_a_slow_reader_arrive_whole(client, driver):
    """The reader stops for a while with its pipe full: the container waits, nothing is dropped."""
    script = f"dd if=/dev/urandom bs=64k count={SLOW_MEGABYTES * 16} 2>/dev/null | tee /tmp/out; md5sum </tmp/out >&2"
    run = client.start("run", "--rm", "--log-driver", driver, *sh(script),
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    digest, size = hashlib.md5(), 0
    first = run.stdout.read(1)
    digest.update(first)
    container = client.engine.ok("ps", "-q")
    assert container
    while data := run.stdout.read(1 << 20):
        digest.update(data)
        size += len(data)
    assert size + 1 == SLOW_MEGABYTES << 20
    assert run.stderr.read().split()[0].decode() == digest.hexdigest()
    assert run.wait(30) == 0
    run.stdout.close()
    run.stderr.close()


@TODAYS_TOO
def test_logs_have_what_was_written_with_tail_and_timestamps(client):
    client.ok("run", "--name", "talk", *sh("for i in 1 2 3 4 5; do echo line $i; done; printf end"))
    assert client.ok("logs", "talk") == "line 1\nline 2\nline 3\nline 4\nline 5\nend"
    assert client.ok("logs", "--tail", "2", "talk") == "line 5\nend"
    stamped = client.ok("logs", "-t", "talk").splitlines()
    assert all(len(line.split(" ", 1)[0]) == len("2026-01-01T00:00:00.000000000Z") for line in stamped)


@TODAYS_TOO
def test_following_logs_ends_with_the_container(client):
    client.ok("run", "-d", "--name", "talk", *sh("echo one; while [ ! -e /go ]; do usleep 1000; done; echo two"))
    follow = client.start("logs", "-f", "talk", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert follow.stdout.readline() == "one\n"
    client.ok("exec", "talk", "touch", "/go")
    assert follow.stdout.read() == "two\n"
    assert follow.wait(20) == 0
    follow.stdout.close()


@TODAYS_TOO
def test_attach_without_a_terminal_sees_output_and_gives_input(client):
    client.ok("run", "-d", "-i", "--name", "echo", *sh("while read line; do echo got $line; done"))
    attached = client.start("attach", "echo", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    attached.stdin.write("hello\n")
    assert attached.stdout.readline() == "got hello\n"
    attached.stdin.close()
    client.ok("kill", "echo")
    attached.stdout.close()
    attached.wait(20)


def test_a_client_that_vanishes_leaves_the_container_running(client):
    run = client.start("run", "--name", "lonely", *sh("echo ready; while :; do echo tick; usleep 10000; done"),
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert run.stdout.readline() == b"ready\n"
    run.kill()
    run.wait()
    run.stdout.close()
    before = len(client.ok("logs", "lonely"))
    wait_until(lambda: len(client.ok("logs", "lonely")) > before, what="it goes on writing")


def test_the_local_driver_keeps_logs_that_can_be_read(client, engine):
    options = ("--log-driver", "local", "--log-opt", "max-size=1m")
    engine.ok("run", "--name", "local", *options, *sh("echo out; echo err >&2"))
    assert client.ok("logs", "local") == "out"
    assert engine.inspect("local")["HostConfig"]["LogConfig"] == {"Type": "local", "Config": {"max-size": "1m"}}
    engine.ok("rm", "local")
