"""What is done to a container that lives on: pause, rename, top, stats."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import TODAYS_TOO
from tests.engine import sh, wait_until

TICKS = sh("i=0; while :; do i=$((i+1)); echo $i > /tick; sleep 0.02; done")


def tick(engine, name):
    return engine.pier("exec", name, "cat", "/tick").stdout


def state(engine, name):
    return engine.inspect(name)["State"]


def ticks_on(engine, name):
    before = tick(engine, name)
    return wait_until(lambda: tick(engine, name) != before)


@pytest.fixture
def ticking(engine, client):
    engine.ok("run", "-d", "--name", "ticking", *TICKS)
    wait_until(lambda: ticks_on(engine, "ticking"))
    return "ticking"


def test_a_paused_container_stands_still_and_goes_on(engine, client, ticking):
    client.ok("pause", ticking)
    process = Path(f"/proc/{state(engine, ticking)['Pid']}/root/tick")
    before = process.read_text()
    assert "(Paused)" in client.ok("ps")
    assert (state(engine, ticking)["Status"], state(engine, ticking)["Paused"]) == ("paused", True)
    for words, expected in (
        (("pause", ticking), "is already paused"), (("exec", ticking, "true"), "is paused, unpause the container"),
        (("attach", ticking), "You cannot attach to a paused container, unpause it first"),
        (("start", ticking), "cannot start a paused"),
        (("rm", ticking), "container is paused"),
    ):
        done = client.run(*words)
        assert done.returncode != 0
        assert expected in done.stderr + done.stdout, words
    assert process.read_text() == before
    client.ok("unpause", ticking)
    assert ticks_on(engine, ticking)
    assert "is not paused" in client.run("unpause", ticking).stderr
    assert [event["Action"] for event in events(engine, ticking)][-2:] == ["pause", "unpause"]


def events(engine, name):
    lines = engine.ok("events", "--since", "1", "--until", str(int(time.time()) + 1), "--filter", f"container={name}",
                      "--filter", "event=pause", "--filter", "event=unpause", "--format", "{{json .}}")
    return [json.loads(line) for line in lines.splitlines()]


@pytest.mark.parametrize("verb, code", [(["stop", "-t", "30"], 143), (["kill"], 137), (["rm", "-f"], None)])
def test_a_paused_container_can_be_ended(engine, client, verb, code):
    engine.ok("run", "-d", "--name", "held", *sh("trap 'exit 143' TERM; while :; do sleep 0.05; done"))
    engine.until_catches("held", signal.SIGTERM)
    client.ok("pause", "held")
    client.ok(*verb, "held")
    if code is None:
        assert engine.run([*engine.argv("pier"), "inspect", "held"]).returncode == 1
    else:
        assert (state(engine, "held")["Status"], state(engine, "held")["ExitCode"]) == ("exited", code)


def test_a_pause_outlives_execd(engine, client, ticking):
    client.ok("pause", ticking)
    engine.kill("execd")
    engine.wait_serving()
    assert state(engine, ticking)["Status"] == "paused"
    client.ok("unpause", ticking)
    assert ticks_on(engine, ticking)


def test_a_renamed_container_is_found_by_its_new_name_alone(engine, client):
    engine.ok("create", "--name", "one", "busybox")
    engine.ok("create", "--name", "two", "busybox")
    client.ok("rename", "one", "three")
    assert client.run("inspect", "one").returncode != 0
    assert "is already in use by container" in client.run("rename", "two", "three").stderr
    client.ok("rename", "two", "one")
    names = engine.ok("ps", "-a", "--format", "{{.Names}}").split()
    assert sorted(names) == ["one", "three"]
    engine.kill("execd")
    engine.wait_serving()
    assert engine.inspect("three")["Name"] == "/three"


@TODAYS_TOO
def test_top_tells_the_containers_processes_and_no_others(engine, client):
    engine.ok("run", "-d", "--name", "busy", *sh("sleep 1000 & sleep 1001"))
    lines = wait_until(lambda: found if "".join(found := client.ok("top", "busy").splitlines()).count("sleep 100") > 1
                       else None)
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert all("sleep 100" in line for line in lines[1:])
    assert str(state(engine, "busy")["Pid"]) in [line.split()[1] for line in lines[1:]]
    assert client.ok("top", "busy", "-o", "pid,comm").splitlines()[0].split() == ["PID", "COMMAND"]
    assert "unknown column" in client.run("top", "busy", "-o", "nope").stderr
    assert "-ef and -o" in client.run("top", "busy", "aux").stderr
    engine.ok("kill", "busy")
    assert "is not running" in client.run("top", "busy").stderr


@TODAYS_TOO
def test_stats_tell_what_the_kernel_counts(engine, client):
    engine.ok("run", "-d", "--name", "eater", "-m", "64m", "--pids-limit", "50",
              *sh("head -c 20000000 /dev/zero > /dev/shm/x; : > /dev/shm/full; i=0; while :; do i=$((i+1)); done"))
    wait_until(lambda: engine.run([*engine.argv("pier"), "exec", "eater", "ls", "/dev/shm/full"]).returncode == 0)
    engine.ok("exec", "eater", "ping", "-c", "1", engine.inspect("eater")["NetworkSettings"]["Gateway"])
    line = client.ok("stats", "--no-stream", "--format", "{{json .}}", "eater")
    row = json.loads(line)
    assert (row["Name"], row["PIDs"]) == ("eater", "1")
    assert row["MemUsage"].endswith("/ 64MiB")
    assert float(row["MemUsage"].split("MiB")[0]) > 15
    assert 0 < float(row["CPUPerc"].rstrip("%")) < 100 * (os.cpu_count() or 1)
    assert row["NetIO"].split(" / ")[0] != "0B"


def test_stats_of_what_does_not_run_are_zeros(engine, client):
    engine.ok("create", "--name", "idle", "busybox")
    row = json.loads(client.ok("stats", "--no-stream", "--format", "{{json .}}", "idle"))
    assert (row["Name"], row["MemUsage"], row["PIDs"]) in [("idle", "0B / 0B", "0"), ("idle", "-- / --", "--")]
