"""Every field of Docker's Config and HostConfig: what is seen of it inside, or by which words it is refused.

A row is a field, its value, a command that runs inside, and what that must print. Rows that get on with one another
share a container. What the kernel keeps outside of the container, or no kernel has, is read from inspect.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import docker
import pytest

from tests.unit.gateway.schema import CONFIG, HOST_CONFIG, NESTED


class Row(NamedTuple):
    field: str
    value: object
    command: str
    shown: str


CGROUP = "cat /sys/fs/cgroup/{}"
MIB = 1 << 20
DISK = next(
    (f"/dev/{entry.name}", (entry / "dev").read_text().strip())
    for entry in Path("/sys/block").iterdir() if (Path("/dev") / entry.name).is_block_device()
)
STATUS = "grep {} /proc/self/status | cut -f2"


def throttle(name):
    return f"grep '^{DISK[1]} ' /sys/fs/cgroup/blkio/blkio.throttle.{name}_device | cut -d' ' -f2"


PLAIN = (
    Row("Hostname", "box", "hostname", "box"),
    Row("Domainname", "example.org", "cat /proc/sys/kernel/domainname", "example.org"),
    Row("User", "0:1001", "id -u; id -g", "0\n1001"),
    Row("Env", ["A=x y"], "echo $A", "x y"),
    Row("Image", "busybox", "busybox | head -c7", "BusyBox"),
    Row("Entrypoint", ["/bin/sh", "-c"], "tr '\\0' ' ' </proc/1/cmdline | head -c10", "/bin/sh -c"),
    Row("Cmd", [], "echo this", "this"),
    Row("Volumes", {"/vol": {}}, "grep -c ' /vol ' /proc/mounts", "1"),
    Row("WorkingDir", "/made/here", "pwd", "/made/here"),
    Row("OpenStdin", True, "readlink /proc/self/fd/0 | cut -d: -f1", "pipe"),
    Row("Tty", False, "tty", "not a tty"),
    Row("MacAddress", "02:42:00:00:00:77", "cat /sys/class/net/eth0/address", "02:42:00:00:00:77"),
    Row("HostConfig.Memory", 64 * MIB, CGROUP.format("memory/memory.limit_in_bytes"), str(64 * MIB)),
    Row("HostConfig.MemoryReservation", 32 * MIB, CGROUP.format("memory/memory.soft_limit_in_bytes"), str(32 * MIB)),
    Row("HostConfig.MemorySwap", 128 * MIB,
        "f=/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes; cat $f 2>/dev/null || echo 134217728", str(128 * MIB)),
    Row("HostConfig.MemorySwappiness", 11, CGROUP.format("memory/memory.swappiness"), "11"),
    Row("HostConfig.OomKillDisable", True, "head -1 /sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 1"),
    Row("HostConfig.CpuShares", 512, CGROUP.format("cpu/cpu.shares"), "512"),
    Row("HostConfig.CpuPeriod", 50000, CGROUP.format("cpu/cpu.cfs_period_us"), "50000"),
    Row("HostConfig.CpuQuota", 25000, CGROUP.format("cpu/cpu.cfs_quota_us"), "25000"),
    Row("HostConfig.CpusetCpus", "0", STATUS.format("Cpus_allowed_list"), "0"),
    Row("HostConfig.CpusetMems", "0", STATUS.format("Mems_allowed_list"), "0"),
    Row("HostConfig.PidsLimit", 77, CGROUP.format("pids/pids.max"), "77"),
    Row("HostConfig.BlkioDeviceReadBps", [{"Path": DISK[0], "Rate": MIB}], throttle("read_bps"), str(MIB)),
    Row("HostConfig.BlkioDeviceWriteBps", [{"Path": DISK[0], "Rate": 2 * MIB}], throttle("write_bps"), str(2 * MIB)),
    Row("HostConfig.BlkioDeviceReadIOps", [{"Path": DISK[0], "Rate": 71}], throttle("read_iops"), "71"),
    Row("HostConfig.BlkioDeviceWriteIOps", [{"Path": DISK[0], "Rate": 72}], throttle("write_iops"), "72"),
    Row("HostConfig.Devices", [{"PathOnHost": "/dev/loop-control", "PathInContainer": "/dev/mine",
                                "CgroupPermissions": "r"}],
        "stat -c %t-%T /dev/mine; grep '^c 10:237 ' /sys/fs/cgroup/devices/devices.list", "a-ed\nc 10:237 r"),
    Row("HostConfig.DeviceCgroupRules", ["c 42:* rw"], "grep '^c 42' /sys/fs/cgroup/devices/devices.list", "c 42:* rw"),
    Row("HostConfig.Ulimits", [{"Name": "nofile", "Soft": 123, "Hard": 456}], "ulimit -n; ulimit -Hn", "123\n456"),
    Row("HostConfig.OomScoreAdj", 77, "cat /proc/self/oom_score_adj", "77"),
    Row("HostConfig.Binds", ["/tmp:/bound:ro"], "grep ' /bound ' /proc/mounts | grep -co ' ro,'", "1"),
    Row("HostConfig.Tmpfs", {"/quick": "size=65536,mode=1777,exec"},
        "stat -f -c %b /quick; stat -c %a /quick; grep ' /quick ' /proc/mounts | grep -c noexec", "16\n1777\n0"),
    Row("HostConfig.Mounts", [
            {"Type": "tmpfs", "Target": "/small", "TmpfsOptions": {"SizeBytes": 131072, "Options": [["uid", "7"]]}}],
        "stat -f -c %b /small; stat -c %u /small", "32\n7"),
    Row("HostConfig.ShmSize", MIB, "stat -f -c %b /dev/shm", "256"),
    Row("HostConfig.CapAdd", ["SYS_TIME"], f"echo $((0x$({STATUS.format('CapBnd')}) >> 25 & 1))", "1"),
    Row("HostConfig.CapDrop", ["MKNOD"], f"echo $((0x$({STATUS.format('CapBnd')}) >> 27 & 1))", "0"),
    Row("HostConfig.Dns", ["192.0.2.53"], "grep nameserver /etc/resolv.conf", "nameserver 192.0.2.53"),
    Row("HostConfig.DnsOptions", ["ndots:4"], "grep options /etc/resolv.conf", "options ndots:4"),
    Row("HostConfig.DnsSearch", ["example.net"], "grep search /etc/resolv.conf", "search example.net"),
    Row("HostConfig.ExtraHosts", ["far:192.0.2.7"], "grep far /etc/hosts", "192.0.2.7\tfar"),
    Row("HostConfig.GroupAdd", ["4242"], "id -G", "1001 4242"),
    Row("HostConfig.ReadonlyRootfs", True, "grep -co '^overlay / overlay ro,' /proc/mounts", "1"),
    Row("HostConfig.SecurityOpt", ["no-new-privileges"], STATUS.format("NoNewPrivs"), "1"),
    Row("HostConfig.Sysctls", {"kernel.shm_rmid_forced": "1"}, "cat /proc/sys/kernel/shm_rmid_forced", "1"),
    Row("HostConfig.MaskedPaths", ["/proc/uptime"], "wc -c </proc/uptime", "0"),
    Row("HostConfig.ReadonlyPaths", ["/proc/bus"], "grep -c ' /proc/bus proc ro,' /proc/mounts", "1"),
    Row("HostConfig.VolumesFrom", ["giver"], "cat /given/word", "given"),
    Row("HostConfig.Links", ["giver:alias"], "grep -c alias /etc/hosts", "1"),
    Row("HostConfig.PublishAllPorts", True, "true", ""),
    Row("HostConfig.NetworkMode", "bridge", "ls /sys/class/net", "eth0\nlo"),
    Row("HostConfig.IpcMode", "private", f"test $(readlink /proc/self/ns/ipc) != {os.readlink('/proc/self/ns/ipc')}; "
        "echo $?", "0"),
    Row("HostConfig.Runtime", "crun", "true", ""),
    Row("HostConfig.CgroupParent", "night/batch", "grep -c night/batch /proc/self/cgroup | grep -v '^0$' >/dev/null; "
        "echo $?", "0"),
)
OTHERWISE = (
    Row("Tty", True, "readlink /proc/self/fd/0", "/dev/pts/0"),
    Row("HostConfig.ConsoleSize", [31, 97], "stty size", "31 97"),
    Row("NetworkDisabled", True, "ls /sys/class/net", "lo"),
    Row("HostConfig.Init", True, "cat /proc/1/comm", "docker-init"),
    Row("HostConfig.NanoCpus", 500_000_000, CGROUP.format("cpu/cpu.cfs_quota_us"), "50000"),
    Row("HostConfig.UTSMode", "host", "hostname", os.uname().nodename),
    Row("HostConfig.CgroupnsMode", "private", f"test $(readlink /proc/self/ns/cgroup) != "
        f"{os.readlink('/proc/self/ns/cgroup')}; echo $?", "0"),
    Row("HostConfig.Privileged", True, STATUS.format("Seccomp:"), "0"),
)
PID_MODE = (Row("HostConfig.PidMode", "host", "test $$ -gt 20; echo $?", "0"),)
TOLD: dict[str, Any] = {
    # what inspect says: kept with the container for whoever acts by it, in no kernel
    "AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "OnBuild": None, "Shell": ["/bin/ash"],
    "ExposedPorts": {"80/tcp": {}}, "Labels": {"a": "b"}, "StopSignal": "SIGUSR1", "StopTimeout": 3, "StdinOnce": True,
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 10**10, "Timeout": 10**9, "Retries": 2,
                    "StartPeriod": 10**9, "StartInterval": 10**8},
    "HostConfig.ContainerIDFile": "/x",
    "HostConfig.LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}, "HostConfig.AutoRemove": True,
    "HostConfig.RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "HostConfig.Annotations": {"a.b": "c"},
    "HostConfig.PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "0"}]},
}
REFUSED = {
    "ArgsEscaped": (True, "Windows"), "HostConfig.CpuCount": (1, "Windows"), "HostConfig.CpuPercent": (1, "Windows"),
    "HostConfig.IOMaximumIOps": (1, "Windows"), "HostConfig.IOMaximumBandwidth": (1, "Windows"),
    "HostConfig.Isolation": ("hyperv", "Windows"), "HostConfig.VolumeDriver": ("nfs", "volume drivers"),
    "HostConfig.Cgroup": ("container:x", "not built"), "HostConfig.StorageOpt": ({"size": "1G"}, "not built"),
    "HostConfig.UsernsMode": ("private", "user namespaces"),
    "HostConfig.DeviceRequests": ([{"Driver": "nobody", "Count": 1, "Capabilities": [["gpu"]]}], "nobody"),
    "HostConfig.CgroupParent": ("machine.slice", "slice"),
    "HostConfig.DeviceRequests[].Options": (
        [{"Driver": "cdi", "DeviceIDs": ["a/b=c"], "Options": {"a": "b"}}], "no driver of devices here has options"),
}
WHERE_THE_KERNEL_CAN = {
    "HostConfig.CpuRealtimePeriod", "HostConfig.CpuRealtimeRuntime", "HostConfig.BlkioWeight",
    "HostConfig.BlkioWeightDevice",
}
"""By tests of their own: the kernel has the file, or the option is refused or warned of."""


MADE = "/tmp/pier-made-for-a-mount"
SHARED = {"Type": "bind", "Source": "/sys/fs/cgroup", "ReadOnly": True}
MOUNTED: list[dict[str, Any]] = [
    {"Type": "tmpfs", "Target": "/t", "Consistency": "cached",
     "TmpfsOptions": {"SizeBytes": 131072, "Mode": 0o700, "Options": [["exec"], ["nr_inodes", "50"]]}},
    {**SHARED, "Target": "/all"},
    {**SHARED, "Target": "/forced", "BindOptions": {"ReadOnlyForceRecursive": True, "Propagation": "rprivate"}},
    {**SHARED, "Target": "/top", "BindOptions": {"ReadOnlyNonRecursive": True}},
    {**SHARED, "Target": "/alone", "BindOptions": {"NonRecursive": True}},
    {"Type": "bind", "Source": MADE, "Target": "/made", "BindOptions": {"CreateMountpoint": True}},
    {"Type": "volume", "Source": "giving", "Target": "/given", "ReadOnly": True, "VolumeOptions": {"Subpath": "inner"}},
    {"Type": "volume", "Source": "taking", "Target": "/bin/taken", "VolumeOptions": {
        "Labels": {"a": "b"}, "DriverConfig": {"Name": "local", "Options": {
            "type": "tmpfs", "device": "tmpfs", "o": "size=65536"}}}},
]
MOUNTS = Row("HostConfig.Mounts", MOUNTED, """stat -f -c '%b %c' /t; stat -c %a /t
grep ' /t ' /proc/mounts | grep -c noexec
for at in all forced top alone; do grep " /$at/pids " /proc/mounts | cut -d' ' -f4 | cut -c1-2; done
ls -d /made; cat /given/word; grep -o ' /given [a-z0-9]* ro' /proc/mounts | cut -c1-7; stat -f -c %b /bin/taken""",
    "32 50\n700\n0\nro\nro\nrw\n/made\ninner\n /given\n16")
ELSEWHERE = {
    **dict.fromkeys(("HostConfig.BlkioWeightDevice[].Path", "HostConfig.BlkioWeightDevice[].Weight"),
                    "e2e/test_host_config.py test_weights_of_block_devices_are_the_kernels_or_told"),
    "HostConfig.DeviceRequests[].DeviceIDs": "e2e/test_devices.py test_a_named_device_brings_what_its_vendor_says",
    "HostConfig.Mounts[].ImageOptions.Subpath":
        "e2e/test_image_mounts.py test_a_part_of_an_image_is_found_within_it_whatever_links_it_has",
    "HostConfig.Mounts[].VolumeOptions.NoCopy":
        "e2e/test_volumes.py test_a_volume_stays_empty_where_nothing_is_to_be_copied",
}
"""What a row cannot say, by the test that does."""


def test_every_field_of_the_schema_has_its_row():
    rows = {row.field for row in (*PLAIN, *OTHERWISE, *PID_MODE)} | set(TOLD) | set(REFUSED) | WHERE_THE_KERNEL_CAN
    rows = {field.partition("[")[0] for field in rows}
    assert rows == CONFIG | {f"HostConfig.{name}" for name in HOST_CONFIG}


def test_every_part_of_a_field_is_in_a_row_or_has_its_test():
    given = [(row.field, row.value) for row in (*PLAIN, *OTHERWISE, *PID_MODE, MOUNTS)] + list(TOLD.items())
    given += [(field.partition("[")[0], value) for field, (value, _) in REFUSED.items()]
    missing = {name for name in NESTED - set(ELSEWHERE) if not any(
        name.startswith(field) and has(value, name.removeprefix(field)) for field, value in given)}
    assert not missing
    tests = Path(__file__).parents[1]
    for place in ELSEWHERE.values():
        file, name = place.split()
        assert f"def {name}(" in (tests / file).read_text()


def has(value, path):
    """Whether ``value`` has what ``path`` ("[].BindOptions.Propagation", "{}[].HostIp") names."""
    if not path:
        return True
    if path.startswith(("[]", "{}")):
        each = value if path.startswith("[]") else value.values()
        return any(has(item, path[2:]) for item in each)
    name, sign, _ = path[1:].partition(".")
    return isinstance(value, dict) and name in value and has(value[name], path[1 + len(name):] if sign else "")


@pytest.fixture
def api(engine):
    with docker.APIClient(base_url=engine.host, version="1.51") as client:
        yield client


def create(api, name, fields):
    """The answer to a create: (status, document)."""
    document: dict[str, Any] = {"Image": "busybox", "HostConfig": {}}
    for field, value in fields.items():
        target = document["HostConfig"] if field.startswith("HostConfig.") else document
        target[field.removeprefix("HostConfig.")] = value
    answer = api._post_json(api._url("/containers/create"), data=document, params={"name": name})
    return answer.status_code, answer.json()


def shown(api, engine, name, rows):
    """What each row's command prints in the container that all of them make."""
    fields = {row.field: row.value for row in rows}
    script = "\n".join(f"echo '== {row.field}'; {{ {row.command}; }} 2>&1" for row in rows)
    fields |= {"Entrypoint": ["/bin/sh", "-c"], "Cmd": [script]}
    status, answer = create(api, name, fields)
    assert status == 201, answer
    engine.ok("start", name)
    engine.ok("wait", name)
    printed = {}
    for part in engine.run([*engine.argv("docker"), "logs", name]).stdout.replace("\r", "").split("== ")[1:]:
        field, _, text = part.partition("\n")
        printed[field] = text.strip()
    return printed


@pytest.mark.parametrize("rows", [PLAIN, OTHERWISE, PID_MODE], ids=["plain", "otherwise", "pid-mode"])
def test_a_field_is_what_the_kernel_shows(api, engine, rows):
    engine.ok("create", "--name", "giver", "-v", "/given", "busybox", "sleep", "600")
    engine.ok("start", "giver")
    engine.ok("exec", "giver", "sh", "-c", "echo given >/given/word")
    assert shown(api, engine, "seen", rows) == {row.field: row.shown for row in rows}
    engine.ok("rm", "-f", "-v", "giver", "seen")
    for parent in ("night/batch", "night"):  # the engine leaves what it was asked to make as a parent
        for path in Path("/sys/fs/cgroup").glob(f"*/{engine.instance.cgroup_parent}/{parent}"):
            path.rmdir()


def test_each_option_of_a_mount_is_what_the_kernel_shows(api, engine):
    engine.ok("run", "--rm", "-v", "giving:/v", "busybox", "sh", "-c", "mkdir /v/inner; echo inner >/v/inner/word")
    assert shown(api, engine, "mounted", (MOUNTS,)) == {MOUNTS.field: MOUNTS.shown}
    assert engine.ok("volume", "inspect", "-f", "{{.Labels.a}}", "taking") == "b"
    told = engine.inspect("mounted")["HostConfig"]["Mounts"]
    assert sorted(told, key=lambda each: each["Target"]) == sorted(MOUNTED, key=lambda each: each["Target"])
    engine.ok("rm", "mounted")
    engine.ok("volume", "rm", "giving", "taking")
    os.rmdir(MADE)


def test_what_no_kernel_knows_is_kept_and_told(api, engine):
    status, answer = create(api, "told", TOLD)
    assert status == 201, answer
    seen = engine.inspect("told")
    for field, value in TOLD.items():
        if field != "OnBuild":
            table = seen["HostConfig"] if field.startswith("HostConfig.") else seen["Config"]
            assert table[field.removeprefix("HostConfig.")] == value, field
    engine.ok("rm", "told")


@pytest.mark.parametrize("field", sorted(REFUSED))
def test_what_is_not_to_be_had_is_refused_by_name(api, field):
    value, words = REFUSED[field]
    status, answer = create(api, "refused", {field.partition("[")[0]: value})
    assert 400 <= status < 600
    assert status != 500
    assert words in answer["message"]


@pytest.mark.parametrize("field, value, file", [
    ("CpuRealtimeRuntime", 1000, "cpu/cpu.rt_runtime_us"), ("CpuRealtimePeriod", 1_000_000, "cpu/cpu.rt_period_us"),
])
def test_shares_of_the_real_time_scheduler_are_the_kernels_or_refused(api, engine, field, value, file):
    status, answer = create(api, "timely", {f"HostConfig.{field}": value, "Cmd": ["cat", f"/sys/fs/cgroup/{file}"]})
    if not (Path("/sys/fs/cgroup") / file).exists():
        assert (status, "real-time" in answer["message"]) == (400, True)
        return
    assert status == 201, answer
    started = engine.docker("start", "timely")
    if started.returncode:
        assert "real-time share" in started.stderr  # the cgroups above this world have none to give
    else:
        engine.ok("wait", "timely")
        assert engine.ok("logs", "timely") == str(value)
    engine.ok("rm", "-f", "timely")


@pytest.mark.parametrize("field, value, file", [
    ("BlkioWeight", 300, "blkio.weight"),
    ("BlkioWeightDevice", [{"Path": DISK[0], "Weight": 200}], "blkio.weight_device"),
])
def test_weights_of_block_devices_are_the_kernels_or_told(api, engine, field, value, file):
    other = file.replace("blkio.", "blkio.bfq.")  # the runtime's choice where a kernel has that alone
    look = ["sh", "-c", f"cd /sys/fs/cgroup/blkio; cat {file} {other} 2>/dev/null"]
    status, answer = create(api, "heavy", {f"HostConfig.{field}": value, "Cmd": look})
    started = engine.docker("start", "heavy")
    told = answer.get("Warnings") or started.returncode
    assert not (told and (Path("/sys/fs/cgroup/blkio") / file).exists()), (status, answer, started.stderr)
    if not told:
        engine.ok("wait", "heavy")
        assert ("300" if field == "BlkioWeight" else "200") in engine.ok("logs", "heavy"), (status, answer)
    engine.ok("rm", "-f", "heavy")
