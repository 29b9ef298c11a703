"""A reboot as the engine meets it: all in the kernel and in the run directory is gone, and the boot id is another."""

import os
import shutil
import signal
import subprocess
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from chassis import mountinfo
from tests.engine import PROGRAMS, forget_network, running, wait_until

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with running("boot", tmp_path_factory.mktemp("engine")) as engine:
        engine.load_busybox()
        yield engine


@contextmanager
def another_boot(directory):
    """The kernel's boot id, as everybody in this world reads it, until the end of the block."""
    file = directory / "boot_id"
    file.write_text(f"{uuid.uuid4()}\n")
    subprocess.run(["mount", "-n", "--bind", str(file), str(BOOT_ID)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-n", str(BOOT_ID)], check=True)


def pull_the_plug(engine, pids):
    """Every process at once, then what the kernel and the run directory had."""
    shims = {int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in pids}
    programs = [engine.pid(name) for name in ("launcher", *PROGRAMS)]
    for pid in (*programs, *shims, *pids):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(programs[0], 0)  # the launcher is ours, where the engine was brought up by this process
    wait_until(lambda: not any(map(alive, (*programs, *shims, *pids))), what="everything is dead")
    for mount in reversed(list(mountinfo.own())):
        if mount.point.startswith(str(engine.instance.run)):
            subprocess.run(["umount", "-n", "-l", mount.point], check=True)
    forget_network(engine.instance)
    shutil.rmtree(engine.instance.run)
    for top in Path("/sys/fs/cgroup").glob(f"*/{engine.instance.cgroup_parent}"):
        for path in sorted(top.glob("**/"), key=lambda path: -len(path.parts)):
            wait_until(lambda path=path: removed(path), what=f"{path} is empty")


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def running_now(engine):
    return set(engine.ok("ps", "--format", "{{.Names}}").split())


def removed(path):
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def test_after_a_reboot_those_come_back_whose_policy_wants_it_and_no_other(engine, tmp_path):
    sleeping = ("busybox", "sleep", "100000")
    engine.ok("network", "create", "own")
    for name, options in {
        "always": ("--restart", "always", "--network", "own", "-v", "kept:/kept"), "no": (), "gone": ("--rm",),
        "wanted": ("--restart", "unless-stopped"), "parted": ("--restart", "unless-stopped"),
    }.items():
        engine.ok("run", "-d", "--name", name, *options, *sleeping)
    engine.ok("exec", "always", "sh", "-c", "echo word | tee /kept/file /written")
    engine.ok("stop", "-t", "0", "parted")
    names = ("always", "wanted", "no", "gone")
    pull_the_plug(engine, [engine.inspect(name)["State"]["Pid"] for name in names])
    with another_boot(tmp_path):
        engine.up()
        wait_until(lambda: running_now(engine) == {"always", "wanted"}, 30.0, "they run")
        assert engine.inspect("no")["State"]["Status"] == "exited"
        assert engine.inspect("parted")["State"]["Status"] == "exited"
        wait_until(lambda: "gone" not in engine.ok("ps", "-a", "--format", "{{.Names}}"), 30.0, "it is removed")
        assert engine.ok("exec", "always", "cat", "/kept/file", "/written").split() == ["word", "word"]
        assert "own" in engine.inspect("always")["NetworkSettings"]["Networks"]
        assert engine.inspect("no")["State"]["ExitCode"] != 0
        assert "nothing found" in engine.pier("system", "fsck").stdout
        engine.remove_everything()
        engine.ok("volume", "rm", "kept")
        engine.ok("network", "rm", "own")
