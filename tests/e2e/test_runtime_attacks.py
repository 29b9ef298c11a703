"""Images, options and processes that attack the runtime's border; what they aim at on the host stays as it is.

A test's number is the attack's. Races are tried a few times here, and PIER_RACES times where that is set.
"""

import hashlib
import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from deploy.busybox_image import Entry as File
from deploy.busybox_image import Image, busybox_image, directory, docker_archive, layer, symlink
from tests.engine import sh, wait_until
from tests.service.execd import bundle

RACES = int(os.environ.get("PIER_RACES", "4"))
CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")


@pytest.fixture
def loaded(engine):
    """Loads an image of busybox and one more layer under the name "trap:1"."""
    def load(entries, config=None):
        settings = {"Cmd": ["sh"], "Env": ["PATH=/bin"], **(config or {})}
        image = Image([*busybox_image().layers, layer(entries)], settings)
        engine.run([*engine.argv("pier"), "load"], input=docker_archive({"trap:1": image}), text=False, check=True)

    yield load
    engine.remove_everything()
    engine.ok("rmi", "-f", "trap:1")
    engine.ok("image", "prune", "-f")


@pytest.fixture
def canary(tmp_path):
    """A directory of the host's that must stay as it is."""
    (tmp_path / "file").write_text("host")
    yield tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "host"


def runtimes(engine):
    told = json.loads(engine.ok("info", "-f", "{{json .Runtimes}}"))
    return {name: Path(entry["path"]) for name, entry in told.items()}


def hashes(engine):
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in runtimes(engine).items()}


def test_01_the_hosts_runtime_cannot_be_overwritten_through_proc_self_exe(engine, loaded):
    before = hashes(engine)
    loaded([File("evil", data=b"#!/proc/self/exe\n", mode=0o755)])
    engine.docker("run", "--rm", "--entrypoint", "/evil", "trap:1")
    attack = "while :; do for exe in /proc/[0-9]*/exe; do echo pwned >$exe; done; done 2>/dev/null"
    engine.ok("run", "-d", "--name", "trapped", "--cap-add", "SYS_PTRACE", "trap:1", "sh", "-c", attack)
    for _ in range(RACES):
        engine.docker("exec", "trapped", "/proc/self/exe")
        engine.docker("exec", "trapped", "/evil")
    assert hashes(engine) == before


def test_02_no_working_directory_leads_through_a_descriptor_of_the_engines(engine, canary):
    look = sh("pwd -P; stat -c %d . /; ls")
    engine.ok("run", "-d", "--name", "trapped", "busybox", "sleep", "600")
    for number in range(3, 3 + RACES):
        for command in (("run", "--rm", "-w", f"/proc/self/fd/{number}", *look),
                        ("exec", "-w", f"/proc/self/fd/{number}", "trapped", *look[1:])):
            done = engine.docker(*command)
            if done.returncode == 0:
                where, own, root = done.stdout.split()[:3]
                assert own == root or where.startswith("/proc"), done.stdout
                assert "pier" not in done.stdout


@pytest.mark.parametrize("target", ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"])
def test_03_a_null_device_that_is_a_link_opens_no_masked_file(engine, loaded, target):
    before = CORE_PATTERN.read_text()
    loaded([directory("dev"), symlink("dev/null", target)])
    attack = f"echo pwned >/dev/null; echo pwned >{target}; echo pwned >/proc/kcore"
    engine.docker("run", "--rm", "trap:1", "sh", "-c", attack)
    assert CORE_PATTERN.read_text() == before


def test_04_a_console_or_terminal_that_is_a_link_leads_nowhere(engine, loaded, canary):
    for name in ("console", "pts", "ptmx", "pts/0"):
        entries = [directory("dev"), *([directory("dev/pts")] if "/" in name else []),
                   symlink(f"dev/{name}", f"../../../../..{canary}/made")]
        loaded(entries)
        engine.run(["script", "-qec", " ".join([*engine.argv("docker"), "run", "--rm", "-it", "trap:1", "true"]),
                    "/dev/null"])


def test_05_a_race_around_proc_changes_no_sysctl_of_the_hosts(engine, canary):
    before = CORE_PATTERN.read_text(), Path("/proc/sys/kernel/shm_rmid_forced").read_text()
    swap = "while :; do rm -rf /vol/p; mkdir /vol/p; rm -rf /vol/p; ln -s /proc /vol/p; done 2>/dev/null"
    engine.ok("run", "-d", "--name", "racer", "-v", "race:/vol", *sh(swap))
    for _ in range(RACES):
        done = engine.docker("run", "--rm", "-v", "race:/vol", "--tmpfs", "/vol/p/sys", "--sysctl",
                             "kernel.shm_rmid_forced=1", *sh("cat /proc/sys/kernel/shm_rmid_forced"))
        assert done.returncode or done.stdout.strip() == "1", done.stdout
    assert (CORE_PATTERN.read_text(), Path("/proc/sys/kernel/shm_rmid_forced").read_text()) == before
    engine.ok("rm", "-f", "-v", "racer")
    engine.ok("volume", "rm", "race")


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_06_and_08_an_image_whose_proc_sys_or_dev_is_a_link_does_not_start(engine, loaded, canary, name, form):
    loaded([symlink(name, str(canary) if form == "absolute" else f"../../../../../..{canary}")])
    for options in ((), ("--privileged",)):
        done = engine.docker("run", "--rm", *options, "trap:1", "true")
        assert done.returncode == 125
        assert f"/{name}" in done.stderr


def test_07_and_12_a_mount_target_that_is_swapped_for_a_link_reaches_nothing_of_the_hosts(
    engine, canary, tmp_path_factory
):
    given = tmp_path_factory.mktemp("given")
    swap = ("while :; do rm -rf /vol/t; mkdir -p /vol/t/sub; rm -rf /vol/t; "
            f"ln -s ../../../../../../../..{canary} /vol/t; done 2>/dev/null")
    engine.ok("run", "-d", "--name", "racer", "-v", "race:/vol", *sh(swap))
    for number in range(RACES):
        target = ("/vol/t/sub", "/vol/t/made")[number % 2]
        seen = engine.docker("run", "--rm", "-v", "race:/vol", "-v", f"{given}:{target}", "-w", "/vol/t/dir",
                             *sh("ls -R /vol/t/; cat /vol/t/file")).stdout
        assert "host" not in seen.split()
    engine.ok("rm", "-f", "racer")
    engine.ok("volume", "rm", "race")


def test_09_a_tracer_inside_holds_no_descriptor_of_the_hosts_while_commands_are_run(engine):
    watch = "while :; do ls -l /proc/[0-9]*/fd /proc/[0-9]*/cwd /proc/[0-9]*/root 2>/dev/null >>/seen; done"
    engine.ok("run", "-d", "--name", "tracer", "--cap-add", "SYS_PTRACE", *sh(watch))
    for _ in range(RACES):
        engine.ok("exec", "tracer", "true")
    seen = set(re.findall(r"-> (/\S+)", engine.ok("exec", "tracer", "cat", "/seen")))
    of_the_host = ("/run", "/var", "/sys", "/usr/bin", str(engine.instance.root))
    # crun 1.8 has its own compiled filter open, for reading.
    assert not [path for path in seen if path.startswith(of_the_host) and not path.endswith("/seccomp.bpf")]


@pytest.mark.parametrize("options", [
    (), ("-u", "1000"), ("-u", "1000:1001", "--cap-add", "NET_ADMIN"), ("--privileged",)
], ids=" ".join)
def test_10_inheritable_and_ambient_capabilities_are_empty(engine, options):
    look = sh("grep -E 'CapInh|CapAmb' /proc/self/status | cut -f2")
    assert set(engine.ok("run", "--rm", *options, *look).split()) == {"0" * 16}
    engine.ok("run", "-d", "--name", "trapped", *options, "busybox", "sleep", "600")
    for user in ((), ("-u", "0"), ("-u", "1000")):
        assert set(engine.ok("exec", *user, "trapped", *look[1:]).split()) == {"0" * 16}


def test_11_and_16_cgroups_are_read_only_and_cannot_be_mounted(engine):
    script = sh("mkdir /sys/fs/cgroup/memory/mine; echo 1 >/sys/fs/cgroup/pids/pids.max; "
                "mkdir /tmp/c; mount -t cgroup -o memory none /tmp/c; "
                "unshare -Ur true; unshare -m true; ls /tmp/c")
    done = engine.docker("run", "--rm", *script)
    assert done.stdout == ""
    assert done.stderr.count("ead-only file system") == 2
    assert len(re.findall("not permitted|denied", done.stderr)) == 3


@pytest.mark.parametrize("where", ["/proc", "/proc/self", "/sys/fs/cgroup", "/proc/sys"])
def test_13_an_image_cannot_lay_a_volume_over_the_kernels_file_systems(engine, loaded, where):
    loaded([], {"Volumes": {where: {}}})
    done = engine.docker("run", "--rm", "--name", "trapped", "trap:1", "cat", "/proc/self/attr/current")
    if done.returncode == 0:
        assert engine.ok("run", "--rm", "trap:1", "stat", "-f", "-c", "%T", "/proc") == "proc"
    engine.docker("rm", "-f", "-v", "trapped")


def test_14_very_long_fields_are_refused_or_taken_and_hurt_nobody(engine):
    for options in (("-e", "A=" + "x" * 100_000), ("--label", "a=" + "x" * 100_000), ("--hostname", "h" * 70_000),
                    ("-v", f"/tmp:/{'x' * 70_000}"), ("-w", "/" + "y/" * 40_000)):
        done = engine.docker("run", "--rm", *options, "busybox", "true")
        assert done.returncode in (0, 125, 126, 127)
        assert "Traceback" not in done.stderr
    assert engine.ok("run", "--rm", "busybox", "echo", "well") == "well"


@pytest.mark.parametrize("setting", ["kernel.shm_rmid_forced=1+kernel.core_pattern=|/x", "kernel.core_pattern=|/x",
                                     "kernel.shm_rmid_forced=1\nkernel.core_pattern=|/x"])
def test_17_a_sysctl_sets_nothing_beside_itself(engine, setting):
    before = CORE_PATTERN.read_text()
    assert engine.docker("run", "--rm", "--sysctl", setting, "busybox", "true").returncode != 0
    assert CORE_PATTERN.read_text() == before


def descriptors(engine):
    shims = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()
             and (entry / "comm").exists() and (entry / "comm").read_text() == "pier-shim\n"]
    pids = [engine.pid("gateway"), engine.pid("execd"), *shims]
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


def memory(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_57_commands_that_print_much_or_leave_children_behind_cost_nothing(engine):
    engine.ok("run", "-d", "--name", "busy", "busybox", "sleep", "600")
    engine.ok("exec", "busy", "true")
    before, sizes = descriptors(engine), [memory(engine.pid(name)) for name in ("gateway", "execd")]
    for _ in range(3):
        with subprocess.Popen([*engine.argv("docker"), "exec", "busy", "dd", "if=/dev/zero", "bs=1M", "count=50"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=engine.environment()):
            pass
    for _ in range(RACES):
        engine.ok("exec", "-d", "busy", "sh", "-c", "sleep 500 & exit 0")
    after = [memory(engine.pid(name)) for name in ("gateway", "execd")]
    assert all(new - old < 32 << 20 for new, old in zip(after, sizes, strict=True))
    engine.ok("exec", "busy", "sh", "-c", "kill $(pidof sleep | tr ' ' '\\n' | grep -vx 1)")
    wait_until(lambda: descriptors(engine) <= before, what="no descriptor more than before")


def test_58_attachments_that_are_dropped_and_sizes_for_the_dead_leak_nothing(engine):
    engine.ok("run", "-d", "-i", "-t", "--name", "busy", "busybox", "sh")
    engine.ok("run", "-t", "--name", "dead", "busybox", "true")

    def post(path):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(engine.instance.api_socket))
            client.sendall(f"POST /v1.43/containers/{path} HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\n"
                           "Connection: Upgrade\r\n\r\n".encode())
            return client.recv(64).split()[1]

    post("busy/attach?stream=1&stdin=1&stdout=1")
    before = descriptors(engine)
    for _ in range(RACES * 5):
        assert post("busy/attach?stream=1&stdin=1&stdout=1") == b"101"
        assert post("dead/resize?h=10&w=10") == b"409"
    wait_until(lambda: descriptors(engine) <= before, what="no descriptor more than before")


def test_59_the_environment_of_one_container_is_seen_in_no_other(engine):
    names = [f"c{number}" for number in range(4)]
    for name in names:
        engine.ok("create", "--name", name, "-e", f"SECRET=of-{name}", "--label", f"own=of-{name}", "busybox", "env")
    for name in names:
        engine.ok("start", name)
        engine.ok("wait", name)
        others = [f"of-{other}" for other in names if other != name]
        told = engine.ok("inspect", name) + engine.ok("logs", name) + engine.ok("ps", "-a", "--no-trunc", "--format",
                                                                              "{{json .}}", "--filter", f"name={name}")
        assert f"of-{name}" in told
        assert not [other for other in others if other in told]


def test_60_top_runs_no_program_of_the_containers(engine, loaded, canary):
    loaded([File("bin/ps", data=f"#!/bin/sh\ntouch {canary}/made /made\n".encode(), mode=0o755)])
    engine.ok("run", "-d", "--name", "trapped", "-v", f"{canary}:{canary}", "trap:1", "sleep", "600")
    assert "sleep 600" in engine.ok("top", "trapped")
    assert "No such file" in engine.docker("exec", "trapped", "ls", "/made").stderr


def test_69_a_checkpoint_is_refused_by_name_whatever_it_is_called(engine):
    engine.ok("create", "--name", "kept", "busybox", "true")
    for name in ("../../x", "x"):
        done = engine.docker("start", "--checkpoint", name, "kept")
        assert done.returncode != 0
        assert "checkpoint" in done.stderr
    assert engine.inspect("kept")["State"]["Status"] == "created"


def test_76_annotations_of_the_runtimes_own_are_refused_and_an_images_reach_it_not(engine, loaded, canary):
    for key in ("run.oci.handler", "run.oci.hooks.stdout", "org.systemd.property.x", "pier.owner"):
        done = engine.docker("create", "--annotation", f"{key}=1", "busybox")
        if "unknown flag" not in done.stderr:
            assert done.returncode != 0
            assert "reserved" in done.stderr
        assert "reserved" in engine.pier("create", "--annotation", f"{key}=1", "busybox").stderr
    loaded([], {"Labels": {"run.oci.seccomp_bpf_data": "", "run.oci.hooks.stdout": f"{canary}/made"}})
    assert engine.ok("run", "--rm", "trap:1", "grep", "Seccomp:", "/proc/self/status").split() == ["Seccomp:", "2"]


def test_77_the_promised_filter_is_there_with_each_runtime_in_run_and_exec(engine):
    look = ("grep", "Seccomp:", "/proc/self/status")
    for name in runtimes(engine):
        done = engine.docker("run", "-d", "--runtime", name, "--name", f"by-{name}", "busybox", "sleep", "600")
        if done.returncode:
            assert "runtime" in done.stderr  # its probe found that it cannot be trusted here
            continue
        pid = engine.inspect(f"by-{name}")["State"]["Pid"]
        assert "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text()
        assert engine.ok("exec", f"by-{name}", *look).split() == ["Seccomp:", "2"]


SEEN = ("ls -l /proc/self/fd | grep -c -- '->'; umask; cat /proc/self/oom_score_adj; "
        "grep -E 'SigIgn|SigBlk|SigPnd|ShdPnd' /proc/self/status")


def signals(seen):
    """Of what the status shows, without the two that C libraries keep to themselves."""
    return {name: int(mask, 16) & (1 << 31) - 1 for name, mask in re.findall(r"(\w+):\t([0-9a-f]{16})", seen)}


def test_79_a_process_has_what_a_bare_runtime_gives_it_and_nothing_of_the_engines(engine, tmp_path):
    root = bundle.make_root(tmp_path / "root")
    name = f"bare-{os.getpid()}"
    made = bundle.make_bundle(tmp_path / "bundle", str(root), ["/bin/busybox", "sh", "-c", SEEN], cgroup=name)
    config = json.loads((made / "config.json").read_text())
    config["process"]["rlimits"] = []
    (made / "config.json").write_text(json.dumps(config))
    bare = subprocess.run(["crun", "--root", str(tmp_path / "state"), "run", "--bundle", str(made), name],
                          capture_output=True, check=True, text=True, stdin=subprocess.DEVNULL, timeout=60).stdout
    engine.ok("run", "-d", "--name", "other", "busybox", "sleep", "600")
    run, further = engine.ok("run", "--rm", *sh(SEEN)), engine.ok("exec", "other", "sh", "-c", SEEN)
    assert run.splitlines()[:3] == further.splitlines()[:3] == bare.splitlines()[:3]
    assert signals(run) == signals(further) == signals(bare)
    assert len(signals(run)) == 4
    variables = {line.partition("=")[0] for line in engine.ok("run", "--rm", "busybox", "env").splitlines()}
    assert variables == {"PATH", "HOSTNAME", "HOME"}
    pid = engine.inspect("other")["State"]["Pid"]
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        assert not path.endswith((".service", ".scope"))
        # A runtime that knows no hybrid layout leaves the second version's hierarchy alone.
        assert "shims" not in path or not controllers
