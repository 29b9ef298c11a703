"""Limits and restart policies changed in containers that are made, and that run."""

import json
import re
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.wire import Wire
from tests.engine import sh, wait_until


@pytest.fixture(autouse=True)
def cleaned(engine):
    yield
    engine.remove_everything()


def kernel(engine, name, controller, file):
    """What the kernel has for the running container."""
    pid = engine.inspect(name)["State"]["Pid"]
    lines = Path(f"/proc/{pid}/cgroup").read_text()
    (path,) = re.findall(rf"^\d+:(?:[^:]*,)?{controller}(?:,[^:]*)?:(.*)$", lines, re.MULTILINE)
    return Path(f"/sys/fs/cgroup/{controller}{path}/{file}").read_text().strip()


def host(engine, name):
    return engine.inspect(name)["HostConfig"]


def test_limits_of_a_running_container_change_in_the_kernel_and_outlive_a_restart(client, engine):
    engine.ok("run", "-d", "--name", "box", "-m", "64m", "--pids-limit", "50", *sh("sleep 1000"))
    client.ok("update", "--cpus", "0.5", "--memory", "128m", "--memory-swap", "256m", "--pids-limit", "100", "box")

    def check():
        assert kernel(engine, "box", "memory", "memory.limit_in_bytes") == str(128 << 20)
        assert kernel(engine, "box", "cpu", "cpu.cfs_quota_us") == "50000"
        assert kernel(engine, "box", "pids", "pids.max") == "100"

    check()
    assert (host(engine, "box")["Memory"], host(engine, "box")["NanoCpus"]) == (128 << 20, 500_000_000)
    assert host(engine, "box")["PidsLimit"] == 100
    client.ok("update", "--memory", "32m", "--memory-swap", "64m", "box")
    assert kernel(engine, "box", "memory", "memory.limit_in_bytes") == str(32 << 20)
    assert host(engine, "box")["PidsLimit"] == 100, "what is not given stays"
    client.ok("update", "--memory", "128m", "--memory-swap", "256m", "box")
    engine.kill("execd")
    engine.wait_supervised()
    check()
    engine.ok("restart", "-t", "0", "box")
    check()
    client.ok("update", "--pids-limit", "-1", "box")
    assert kernel(engine, "box", "pids", "pids.max") == "max"


def test_a_container_that_does_not_run_starts_with_what_it_was_given(client, engine):
    engine.ok("create", "--name", "box", *sh("sleep 1000"))
    client.ok("update", "--cpu-shares", "512", "box")
    engine.ok("start", "box")
    assert kernel(engine, "box", "cpu", "cpu.shares") == "512"


def test_what_contradicts_or_cannot_be_is_refused_and_changes_nothing(client, engine):
    engine.ok("run", "-d", "--name", "box", "-m", "64m", "--memory-swap", "64m", "--cpus", "1", *sh("sleep 1000"))
    before = host(engine, "box")
    for arguments, words in (
        (["--memory", "128m"], "update the memoryswap at the same time"),
        (["--cpu-period", "50000"], "CPU Period cannot be updated as"),
        (["--memory", "1m"], "Minimum memory limit allowed is 6MB"),
        (["--cpus", "1000"], "Range of CPUs is from 0.01 to"),
        (["--cpuset-cpus", "900"], "Requested CPUs are not available - requested 900"),
    ):
        done = client.run("update", *arguments, "box")
        assert done.returncode == 1, arguments
        assert words in done.stderr
        assert host(engine, "box") == before
    assert "No such container" in client.run("update", "--cpus", "1", "nobody").stderr
    assert client.run("update", "box").returncode == 1


def test_the_restart_policy_changes_under_a_running_container(client, engine):
    engine.ok("run", "-d", "--name", "box", *sh("trap 'exit 3' USR1; while :; do sleep 0.1; done"))
    client.ok("update", "--restart", "on-failure:2", "box")
    assert host(engine, "box")["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    engine.until_catches("box", signal.SIGUSR1)
    engine.ok("kill", "-s", "USR1", "box")
    wait_until(lambda: engine.inspect("box")["RestartCount"] == 1)
    client.ok("update", "--restart", "no", "box")
    wait_until(lambda: engine.inspect("box")["State"]["Running"])
    engine.ok("run", "-d", "--rm", "--name", "auto", *sh("sleep 1000"))
    assert "AutoRemove is enabled" in client.run("update", "--restart", "always", "auto").stderr


def test_an_update_is_told_as_an_event(engine):
    engine.ok("run", "-d", "--name", "box", *sh("sleep 1000"))
    engine.ok("update", "--cpu-shares", "512", "box")
    lines = engine.ok("events", "--since", "1", "--until", str(int(time.time()) + 1), "--filter", "event=update",
                      "--filter", f"container={engine.inspect('box')['Id']}", "--format", "{{json .}}")
    assert [json.loads(line)["Actor"]["Attributes"]["name"] for line in lines.splitlines()] == ["box"]


def test_limits_of_block_devices_change_since_1_55_by_list(engine):
    entry = next(each for each in Path("/sys/block").iterdir() if (Path("/dev") / each.name).is_block_device())
    disk, numbers = f"/dev/{entry.name}", (entry / "dev").read_text().strip()
    engine.pier("run", "-d", "--name", "box", "--device-read-bps", f"{disk}:1mb", *sh("sleep 1000"))
    wire = Wire(engine.instance.api_socket)

    def update(version, **body):
        return wire.call("POST", f"/v{version}/containers/box/update", body)

    def limits():
        files = ("read_bps", "write_iops")
        return [kernel(engine, "box", "blkio", f"blkio.throttle.{file}_device") for file in files]

    assert limits() == [f"{numbers} 1048576", ""]
    iops = [{"Path": disk, "Rate": 50}]
    refused = update("1.54", BlkioDeviceWriteIOps=iops)
    assert (refused.status, "BlkioDeviceWriteIOps" in refused.message) == (501, True)
    assert update("1.55", BlkioDeviceWriteIOps=iops, BlkioDeviceReadBps=None).status == 200
    assert limits() == [f"{numbers} 1048576", f"{numbers} 50"], "null leaves a list as it is"
    assert host(engine, "box")["BlkioDeviceWriteIOps"] == iops
    wrong = update("1.55", BlkioDeviceReadBps=[{"Path": "/dev/null", "Rate": 1}])
    assert (wrong.status, "not a block device" in wrong.message) == (400, True)
    assert limits() == [f"{numbers} 1048576", f"{numbers} 50"]
    engine.ok("restart", "-t", "0", "box")
    assert limits() == [f"{numbers} 1048576", f"{numbers} 50"]
    assert update("1.55", BlkioDeviceReadBps=[]).status == 200
    assert limits() == ["", f"{numbers} 50"], "an empty one takes it away"
    assert host(engine, "box")["BlkioDeviceReadBps"] == []
