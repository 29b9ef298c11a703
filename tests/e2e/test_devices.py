"""Devices, their limits, and those that vendors describe (CDI), as the kernel and the container see them."""

import json
from pathlib import Path

import pytest

from tests.engine import sh

CDI = Path("/run/cdi")  # /var/run/cdi of a world
SPECIFICATION = {
    "cdiVersion": "0.6.0", "kind": "example.com/gpu",
    "containerEdits": {"env": ["SHARED=yes", "PATH_OF=first"]},
    "devices": [
        {"name": "0", "containerEdits": {
            "env": ["PATH_OF=zero"],
            "deviceNodes": [{"path": "/dev/card0", "hostPath": "/dev/loop-control", "permissions": "r"}],
            "mounts": [{"hostPath": "/run/cdi", "containerPath": "/opt/vendor", "options": ["ro", "nosuid"]}],
            # It reads what it is told, as crun before 1.17 wants of a hook
            "hooks": [{"hookName": "createRuntime", "path": "/usr/bin/tee", "args": ["tee", "/run/cdi/hooked"]}],
            "additionalGids": [4242],
        }},
        {"name": "all", "containerEdits": {"deviceNodes": [{"path": "/dev/card9", "type": "c", "major": 1,
                                                            "minor": 3}]}},
    ],
}


@pytest.fixture
def cdi():
    CDI.mkdir()
    (CDI / "example.json").write_text(json.dumps(SPECIFICATION))
    yield CDI
    for path in CDI.iterdir():
        path.unlink()
    CDI.rmdir()


def block_device():
    """A block device with its numbers: whatever the machine has."""
    for name in Path("/sys/block").iterdir():
        if (Path("/dev") / name.name).is_block_device():
            return f"/dev/{name.name}", (name / "dev").read_text().strip()
    raise AssertionError("no block device")


def cgroup_file(id_, name):
    return next(path.read_text() for path in Path("/sys/fs/cgroup").glob(f"**/{id_}*/{name}"))


def test_limits_of_block_devices_are_the_kernels(client):
    path, numbers = block_device()
    if client.name == "docker" and " 26." in client.ok("--version"):
        pytest.skip("docker 26's command takes these options and sends none of them")
    id_ = client.ok("run", "-d", "--device-read-bps", f"{path}:1mb", "--device-write-iops", f"{path}:77", "busybox",
                    "sleep", "600")
    assert f"{numbers} 1048576" in cgroup_file(id_, "blkio.throttle.read_bps_device")
    assert f"{numbers} 77" in cgroup_file(id_, "blkio.throttle.write_iops_device")
    kept = client.engine.inspect(id_)["HostConfig"]
    assert kept["BlkioDeviceReadBps"] == [{"Path": path, "Rate": 1 << 20}]
    assert client.run("run", "--rm", "--device-read-bps", "/dev/null:1mb", "busybox").returncode == 125
    assert "not a block device" in client.run("run", "--rm", "--device-read-bps", "/dev/null:1mb", "busybox").stderr


def test_swappiness_is_the_kernels(client):
    id_ = client.ok("run", "-d", "--memory", "32m", "--memory-swappiness", "17", "busybox", "sleep", "600")
    assert cgroup_file(id_, "memory.swappiness").strip() == "17"
    assert client.engine.inspect(id_)["HostConfig"]["MemorySwappiness"] == 17
    assert "range is 0-100" in client.run("create", "--memory-swappiness", "101", "busybox").stderr


def test_rules_of_devices_open_what_they_name_alone(client):
    script = sh("mknod /loop c 10 237 && true < /loop && echo opened || echo closed")
    assert client.run("run", "--rm", *script).stdout.strip() == "closed"
    assert client.run("run", "--rm", "--device-cgroup-rule", "c 10:* rw", *script).stdout.strip() == "opened"
    assert client.run("run", "--rm", "--device-cgroup-rule", "c 11:237 rw", *script).stdout.strip() == "closed"
    assert client.run("create", "--device-cgroup-rule", "x 1:1 r", "busybox").returncode != 0


def test_a_named_device_brings_what_its_vendor_says(engine, cdi):
    script = sh("echo $SHARED $PATH_OF; stat -c %F-%t-%T /dev/card0; true < /dev/card0 && echo reads; "
                "true 2>/dev/null >/dev/card0 || echo writes not; ls /opt/vendor; id -G; touch /opt/vendor/x 2>&1")
    done = engine.pier("run", "--rm", "--device", "example.com/gpu=0", *script)
    assert done.stdout.splitlines()[:7] == [
        "yes zero", "character special file-a-ed", "reads", "writes not", "example.json", "hooked", "0 4242"]
    assert "Read-only file system" in done.stdout
    assert json.loads((cdi / "hooked").read_text())["pid"]
    missing = engine.pier("run", "--rm", "--device", "example.com/gpu=7", "busybox", "true")
    assert (missing.returncode, "unresolvable CDI devices example.com/gpu=7" in missing.stderr) == (125, True)


def test_gpus_are_the_devices_of_that_class(client, cdi):
    look = sh("ls /dev/card9 && echo $SHARED")
    assert client.ok("run", "--rm", "--gpus", "all", *look).split() == ["/dev/card9", "yes"]
    assert client.ok("run", "--rm", "--gpus", "device=0", *sh("ls /dev/card0")) == "/dev/card0"
    (cdi / "broken.yaml").write_text("a: [")
    (cdi / "other.yaml").write_text(
        "cdiVersion: '0.5.0'\nkind: other.org/gpu\ndevices:\n- name: '0'\n  containerEdits: {env: [O=1]}\n")
    done = client.run("run", "--rm", "--gpus", "device=0", *look)
    assert "several vendors have the CDI device gpu=0: example.com, other.org" in done.stderr
    missing = client.run("run", "--rm", "--gpus", "device=5", *look).stderr
    assert 'could not select device driver "" with capabilities: [[gpu]]: no CDI device gpu=5' in missing
    assert "broken.yaml" in missing


def test_a_driver_that_is_not_there_is_refused(engine):
    answer = engine.pier("create", "--gpus", "driver=other", "busybox")
    assert 'could not select device driver "other"' in answer.stderr
