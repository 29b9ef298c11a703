"""Health checks by both commands, and over a death of execd."""

import json
import signal
import time

import pytest

from deploy.busybox_image import Image, busybox_image, docker_archive
from tests.engine import sh, wait_until

SLEEPS = sh("sleep 1000")
QUICK = ("--health-interval", "50ms", "--health-retries", "2")


def health(engine, name):
    return engine.inspect(name)["State"].get("Health")


def becomes(engine, name, status):
    return wait_until(lambda: found if (found := health(engine, name))["Status"] == status else None)


def test_a_check_is_starting_then_healthy_then_unhealthy(client, engine):
    id_ = client.ok("run", "-d", "--name", "well", *QUICK, "--health-cmd",
                    "[ ! -e /sick ] && echo fine || { echo missing; exit 3; }", *SLEEPS)
    found = becomes(engine, "well", "healthy")
    assert found["Log"][-1]["ExitCode"] == 0
    assert found["Log"][-1]["Output"] == "fine\n"
    assert "(healthy)" in client.ok("ps")
    assert client.ok("ps", "-q", "--filter", "health=healthy")
    assert client.ok("ps", "-q", "--filter", "health=none") == ""
    engine.ok("exec", "well", "touch", "/sick")
    found = becomes(engine, "well", "unhealthy")
    assert found["Log"][-1]["ExitCode"] == 3
    assert 2 <= len(found["Log"]) <= 5
    assert "missing" in found["Log"][-1]["Output"]
    assert found["FailingStreak"] >= 2
    assert "(unhealthy)" in client.ok("ps")
    told = [json.loads(line)["Action"] for line in engine.ok(
        "events", "--since", "1", "--until", str(int(time.time()) + 1), "--filter", f"container={id_}",
        "--filter", "event=health_status", "--format", "{{json .}}").splitlines()]
    assert told == ["health_status: healthy", "health_status: unhealthy"]
    engine.ok("restart", "-t", "0", "well")
    assert engine.inspect("well")["Config"]["Healthcheck"]["Test"][0] == "CMD-SHELL"


def test_a_probe_that_takes_too_long_is_killed_and_told(client, engine):
    client.ok("run", "-d", "--name", "slow", *QUICK, "--health-timeout", "100ms", "--health-cmd", "sleep 77", *SLEEPS)
    found = becomes(engine, "slow", "unhealthy")
    assert found["Log"][-1]["ExitCode"] == -1
    assert "exceeded timeout (0.1s)" in found["Log"][-1]["Output"]
    wait_until(lambda: engine.ok("top", "slow", "-o", "pid,cmd").count("sleep 77") <= 2, what="the killed are gone")


@pytest.fixture
def checked(engine):
    image = Image(busybox_image().layers, {
        "Cmd": ["sleep", "1000"], "Env": ["PATH=/bin"],
        "Healthcheck": {"Test": ["CMD", "test", "-e", "/ok"], "Interval": 50_000_000, "Retries": 1},
    })
    engine.run([*engine.argv("pier"), "load"], input=docker_archive({"checked:1": image}), text=False, check=True)
    yield "checked:1"
    engine.remove_everything()
    engine.ok("rmi", "checked:1")


def test_an_images_check_holds_unless_it_is_switched_off(client, engine, checked):
    client.ok("run", "-d", "--name", "own", checked)
    becomes(engine, "own", "unhealthy")
    client.ok("run", "-d", "--name", "none", "--no-healthcheck", checked)
    assert health(engine, "none") is None


def test_health_goes_on_when_execd_is_there_again(client, engine):
    client.ok("run", "-d", "--name", "goes", *QUICK, "--health-cmd", "test ! -e /sick", *SLEEPS)
    becomes(engine, "goes", "healthy")
    engine.kill("execd")
    engine.wait_serving()
    assert health(engine, "goes")["Status"] == "healthy"
    engine.ok("exec", "goes", "touch", "/sick")
    becomes(engine, "goes", "unhealthy")


def test_a_bad_check_is_refused(client):
    assert client.run("create", "--health-interval", "10us", "--health-cmd", "x", "busybox").returncode != 0
    assert "cannot be negative" in client.run("create", "--health-retries", "-1", "--health-cmd", "x", "busybox").stderr


def test_one_that_is_unhealthy_is_restarted_where_its_label_says_so(client, engine):
    client.ok("run", "-d", "--name", "heals", *QUICK, "--restart", "on-failure:3", "--label",
              "pier.restart-unhealthy=true", "--health-cmd", "test ! -e /dev/shm/sick",  # anew in each life
              *sh("trap 'exit 0' TERM; echo life; while :; do sleep 0.05; done"))
    becomes(engine, "heals", "healthy")
    engine.ok("exec", "heals", "touch", "/dev/shm/sick")
    wait_until(lambda: engine.inspect("heals")["RestartCount"] == 1)
    becomes(engine, "heals", "healthy")
    assert engine.ok("logs", "heals").count("life") == 2
    engine.ok("exec", "heals", "touch", "/dev/shm/sick")
    engine.kill("execd")  # whoever comes after it sees to the same
    engine.wait_serving()
    wait_until(lambda: engine.inspect("heals")["RestartCount"] == 2)
    engine.until_catches("heals", signal.SIGTERM)
    client.ok("stop", "heals")
    assert engine.inspect("heals")["State"]["Status"] == "exited"


def test_a_restart_when_unhealthy_needs_a_policy_and_a_check(client):
    label = ("--label", "pier.restart-unhealthy=true")
    for flags in (("--restart", "always"), ("--health-cmd", "true")):
        refused = client.run("create", *label, *flags, "busybox")
        assert "needs a restart policy and a health check" in refused.stderr
    assert 'neither "true" nor "false"' in client.run("create", "--label", "pier.restart-unhealthy=1", "busybox").stderr
