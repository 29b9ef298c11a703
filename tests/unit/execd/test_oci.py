"""The document for the runtime, and what a spec may not ask."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis import signals
from chassis.errors import InvalidArgument, PierError, Unimplemented
from execd.oci import block_io, capabilities, config, limits, mounts, users, validate
from execd.oci.users import User
from pier.exec.v1 import exec_pb2
from pier.types.v1 import types_pb2

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001:,,,:/home/alice:/bin/sh\nbroken\n12:x:77:78::/n:/s\n"
GROUP = b"root:x:0:\nalice:x:1001:\nwheel:x:10:root,alice\nvideo:x:44:alice\n"
RUNTIMES = frozenset({"crun", "runc"})
ID = "ab" * 32


def spec(**fields) -> exec_pb2.ContainerSpec:
    made = exec_pb2.ContainerSpec(process=exec_pb2.Process(args=[b"sh"]))
    made.MergeFrom(exec_pb2.ContainerSpec(**fields))
    return made


@pytest.mark.parametrize(
    "text, uid, gid, groups, home",
    [
        ("", 0, 0, (0, 10), "/root"), ("root", 0, 0, (0, 10), "/root"),
        ("alice", 1000, 1001, (1001, 10, 44), "/home/alice"),
        ("1000", 1000, 1001, (1001, 10, 44), "/home/alice"), ("1000:0", 1000, 0, (0,), "/home/alice"),
        ("alice:wheel", 1000, 10, (10,), "/home/alice"), ("4242", 4242, 0, (0,), ""),
        ("4242:4343", 4242, 4343, (4343,), ""),
        ("12", 77, 78, (78,), "/n"), ("2147483647", 2147483647, 0, (0,), ""),
    ],
)
def test_users_are_resolved_as_docker_does(text, uid, gid, groups, home) -> None:
    assert users.resolve(text, [], PASSWD, GROUP) == User(uid, gid, groups, home)


@pytest.mark.parametrize(
    "text", ["1:", ":1", ":", "+1", "-1", " 1", "1 ", "4294967296", "2147483648", "9" * 14, "a:b:c", "a b", "a\nb"]
)
def test_15_30_users_outside_the_grammar_are_refused(text) -> None:
    with pytest.raises(InvalidArgument) as refused:
        users.resolve(text, [], PASSWD, GROUP)
    assert refused.value.reason == "BAD_USER"


@pytest.mark.parametrize("text", ["1e3", "nobody", "alice:nogroup", "0x10"])
def test_names_that_nobody_has_are_told_in_dockers_words(text) -> None:
    with pytest.raises(InvalidArgument, match="unable to find"):
        users.resolve(text, [], PASSWD, GROUP)


@given(st.text(), st.binary(), st.binary())
def test_no_user_string_and_no_file_gives_a_number_out_of_range(text, passwd, group) -> None:
    try:
        user = users.resolve(text, [], passwd, group)
    except InvalidArgument:
        return
    assert all(0 <= number < 2**31 for number in (user.uid, user.gid, *user.groups))


def test_capabilities_are_added_and_dropped_upon_dockers_fourteen() -> None:
    everything = frozenset(capabilities.NAMES)
    assert len(capabilities.DEFAULT) == 14
    assert capabilities.effective([], [], privileged=False, available=everything) == capabilities.DEFAULT
    assert capabilities.effective(["sys_admin"], ["CAP_CHOWN"], privileged=False, available=everything) == (
        capabilities.DEFAULT | {"CAP_SYS_ADMIN"}
    ) - {"CAP_CHOWN"}
    assert capabilities.effective(["net_admin"], ["all"], privileged=False, available=everything) == {"CAP_NET_ADMIN"}
    all_but_kill = capabilities.effective(["ALL"], ["kill"], privileged=False, available=everything)
    assert all_but_kill == everything - {"CAP_KILL"}
    assert capabilities.effective([], [], privileged=True, available=frozenset({"CAP_KILL"})) == {"CAP_KILL"}


def test_a_capability_that_the_engine_has_not_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match="CAP_SYS_RESOURCE"):
        capabilities.effective(["SYS_RESOURCE"], [], privileged=False, available=capabilities.DEFAULT)
    with pytest.raises(InvalidArgument, match='unknown capability: "CAP_FLY"'):
        capabilities.effective(["fly"], [], privileged=False)


@pytest.mark.parametrize(
    "fields, word",
    [
        ({"memory": 1 << 20}, "Minimum memory limit"), ({"nano_cpus": 10**13}, "Range of CPUs"),
        ({"memory": 1 << 30, "memory_swap": 1 << 29}, "memoryswap"), ({"memory_swap": 1 << 29}, "Memory limit"),
        ({"nano_cpus": 10**9, "cpu_quota": 1}, "Conflicting"), ({"pids": -2}, "PIDs"),
        ({"cpuset_cpus": "0;1"}, "cpuset"),
    ],
)
def test_limits_out_of_range_are_told_in_dockers_words(fields, word) -> None:
    with pytest.raises(InvalidArgument, match=word):
        limits.check(exec_pb2.Resources(**fields))


def test_cpus_become_a_quota() -> None:
    for asked, counted in ((1, 2), (2, 2), (512, 512), (10**9, 262144)):
        assert limits.linux_resources(exec_pb2.Resources(cpu_shares=asked))["cpu"]["shares"] == counted
    made = limits.linux_resources(exec_pb2.Resources(nano_cpus=1_500_000_000, pids=100))
    assert made == {"cpu": {"period": 100_000, "quota": 150_000}, "pids": {"limit": 100}}


@pytest.mark.parametrize(
    "key",
    ["run.oci.handler", "run.oci.seccomp_bpf_data", "RUN.OCI.hooks.stdout", "org.systemd.property.x", "pier.owner"],
)
def test_76_annotations_that_steer_the_runtime_are_refused(key) -> None:
    with pytest.raises(InvalidArgument) as refused:
        validate.container(spec(annotations={key: "1"}), RUNTIMES)
    assert refused.value.reason == "RESERVED_ANNOTATION"


@given(st.text(min_size=1))
def test_76_no_annotation_under_a_reserved_prefix_gets_through(rest) -> None:
    for prefix in validate.RESERVED_ANNOTATIONS:
        with pytest.raises(InvalidArgument):
            validate.container(spec(annotations={prefix + rest: ""}), RUNTIMES)


@pytest.mark.parametrize(
    "fields",
    [
        {"sandbox_id": "x"},
        {"log": {"driver": "gelf"}},
        {"namespaces": [{"kind": exec_pb2.NAMESPACE_KIND_UTS, "container": ID}]},
    ],
)
def test_what_is_not_built_is_refused_by_name(fields) -> None:
    with pytest.raises(Unimplemented) as refused:
        validate.container(spec(**fields), RUNTIMES)
    assert refused.value.field.startswith("spec.")


@pytest.mark.parametrize("shared, first", [
    ([], [b"/sbin/docker-init", b"--", b"sh"]),
    ([{"kind": exec_pb2.NAMESPACE_KIND_PID, "host": True}], [b"sh"]),
])
def test_an_init_is_the_first_process_of_a_pid_namespace_of_its_own(shared, first) -> None:
    place = config.Place(ID, "/r", "pier/x", {}, {}, (), "/usr/bin/tini-static")
    user = User(0, 0, (0,), "/root")
    made = config.config(spec(init=True, namespaces=shared), place, user, frozenset(), config.Filter(None, {}))
    assert [word.encode() for word in made["process"]["args"]][: len(first)] == first
    found = [item for item in made["mounts"] if item["destination"] == "/sbin/docker-init"]
    assert [item["source"] for item in found if "ro" in item["options"]] == ["/usr/bin/tini-static"] * (not shared)


@pytest.mark.parametrize(
    "entry, reason",
    [
        ({"type": "bind", "source": b"/tmp", "target": b"/"}, "BAD_MOUNT"),
        ({"type": "bind", "source": b"/tmp", "target": b"/x/.."}, "BAD_MOUNT"),
        ({"type": "bind", "source": b"/tmp", "target": b"/proc"}, "BAD_MOUNT"),
        ({"type": "bind", "source": b"/tmp", "target": b"/x/../proc/sys"}, "BAD_MOUNT"),
        ({"type": "bind", "source": b"tmp", "target": b"/x"}, "BAD_MOUNT"),
        ({"type": "bind", "source": b"/nonexistent", "target": b"/x"}, "BAD_MOUNT"),
        ({"type": "bind", "source": b"/tmp", "target": b"/x", "propagation": "loud"}, "BAD_MOUNT"),
        ({"type": "bind", "source": b"/tmp", "target": b"/x", "options": [{"key": "ro,suid"}]}, "BAD_MOUNT"),
        ({"type": "tmpfs", "target": b"/x", "options": [{"key": "size", "value": b"1,mode=7777"}]}, "BAD_MOUNT"),
        ({"type": "overlay", "target": b"/x", "options": [{"key": "lowerdir", "value": b"/tmp"}]}, "BAD_MOUNT"),
        ({"type": "overlay", "target": b"/x", "options": [{"key": "ro"}, {"key": "upperdir", "value": b"/tmp"}]},
         "BAD_MOUNT"),
        ({"type": "overlay", "target": b"/x", "options": [{"key": "ro"}], "subpath": b"../x"}, "BAD_MOUNT"),
        ({"type": "erofs", "target": b"/x"}, "UNIMPLEMENTED"),
    ],
)
def test_bad_mounts_are_refused(entry, reason) -> None:
    with pytest.raises(PierError) as refused:
        validate.container(spec(mounts=[entry]), RUNTIMES)
    assert refused.value.reason == reason


def test_a_read_only_bind_keeps_its_propagation() -> None:
    entry = types_pb2.MountSpec(type="bind", source=b"/tmp", target=b"/data", recursive=True,
                                options=[types_pb2.MountOption(key="ro")], propagation="rslave")
    assert mounts.from_spec([entry], {}) == [
        {"destination": "/data", "type": "bind", "source": "/tmp", "options": ["rbind", "rro", "rslave"]}
    ]
    entry.read_only_top = True
    assert mounts.from_spec([entry], {})[0]["options"] == ["rbind", "ro", "rslave"]
    assert mounts.propagation([entry]) == "rslave"


def document(**fields) -> dict[str, Any]:
    place = config.Place(ID, "/r", "pier/x", {"/etc/hosts": "/h"}, {}, ())
    made = spec(**fields)
    caps = capabilities.effective([], [], privileged=made.privileged, available=capabilities.DEFAULT)
    return config.config(made, place, User(0, 0, (0,), "/root"), caps, config.Filter({"defaultAction": "x"}, {}))


def test_the_document_has_dockers_defaults() -> None:
    made = document()
    assert made["process"]["env"] == [config.PATH, f"HOSTNAME={ID[:12]}", "HOME=/root"]
    assert made["process"]["capabilities"].keys() == {"bounding", "effective", "permitted"}
    assert "/proc/kcore" in made["linux"]["maskedPaths"]
    assert made["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert made["linux"]["seccomp"] == {"defaultAction": "x"}
    assert {item["type"] for item in made["linux"]["namespaces"]} >= {"mount", "network", "pid", "ipc", "uts"}
    assert [item["destination"] for item in made["mounts"]][-1] == "/etc/hosts"
    shm = next(item for item in made["mounts"] if item["destination"] == "/dev/shm")
    assert "size=67108864" in shm["options"]


def test_the_hosts_namespaces_are_left_out_and_a_path_is_joined() -> None:
    network = {"kind": exec_pb2.NAMESPACE_KIND_NETWORK, "path": b"/run/netns/x"}
    kinds = [network, {"kind": exec_pb2.NAMESPACE_KIND_UTS, "host": True}]
    made = document(namespaces=kinds)
    assert {"type": "network", "path": "/run/netns/x"} in made["linux"]["namespaces"]
    assert "uts" not in {item["type"] for item in made["linux"]["namespaces"]}
    assert "hostname" not in made


def test_the_specs_environment_wins() -> None:
    made = document(process={"env": [b"PATH=/x", b"HOME=", b"A=\xff"], "terminal": True})
    assert made["process"]["env"] == [f"HOSTNAME={ID[:12]}", "TERM=xterm", "PATH=/x", "HOME=", "A=\udcff"]


def test_what_a_start_gives_beneath_is_seen_where_the_spec_has_none_of_the_name() -> None:
    beneath = [b"DB_NAME=/web/db", b"DB_PORT=tcp://172.17.0.2:80"]
    own = exec_pb2.Process(args=[b"sh"], env=[b"DB_PORT=own"])
    made = config.process(own, User(0, 0, (), "/root"), frozenset(), "web", beneath)
    assert made["env"] == [config.PATH, "HOSTNAME=web", "DB_NAME=/web/db", "DB_PORT=own", "HOME=/root"]


def test_what_is_secret_takes_the_place_of_variables_of_its_name() -> None:
    assert config.above(["A=1", "B=2", "AB=3"], [b"A=\xff", b"C=x=y"]) == ["B=2", "AB=3", "A=\udcff", "C=x=y"]


@pytest.mark.parametrize("entry", [b"A\0=b", b"=b", b"bare", b"A=" + b"x" * (8 << 20)], ids=lambda entry: entry[:4])
def test_an_entry_that_is_none_is_not_put_beneath(entry) -> None:
    with pytest.raises(InvalidArgument):
        validate.environment([b"OK=1", entry], "env")


@pytest.mark.parametrize(
    "text, number", [("", 15), ("KILL", 9), ("sigkill", 9), ("9", 9), ("SIGRTMIN+3", 37), ("RTMAX", 64)]
)
def test_signals_by_name_and_number(text, number) -> None:
    assert signals.parse(text, 15, "signal") == number


@pytest.mark.parametrize("text", ["0", "65", "-1", "HUPP", "SIG", "9 ", "９"])
def test_what_is_no_signal_is_refused(text) -> None:
    with pytest.raises(InvalidArgument, match="Invalid signal"):
        signals.parse(text, 15, "signal")


@pytest.mark.parametrize("key, allowed", [
    ("net.ipv4.ip_forward", True), ("kernel.shm_rmid_forced", True), ("fs.mqueue.msg_max", True), ("kernel.sem", True),
    ("kernel.pid_max", False), ("vm.swappiness", False), ("net/../kernel/pid_max", False), ("net.ipv4/x", False),
    ("net", False), ("", False), ("net.ipv4.x\n", False), ("kernel.shmmax ", False), ("fs.mqueue", False),
])
def test_75_a_sysctl_is_one_of_the_containers_own_namespaces(key, allowed) -> None:
    asked = spec(sysctls={key: "1"})
    if allowed:
        validate.container(asked, RUNTIMES)
        return
    with pytest.raises(InvalidArgument, match="sysctl"):
        validate.container(asked, RUNTIMES)


@given(st.text(max_size=30), st.text(max_size=10))
def test_no_sysctl_leads_out_of_its_namespace(key, value) -> None:
    try:
        validate.container(spec(sysctls={key: value}), RUNTIMES)
    except InvalidArgument:
        return
    assert "/" not in key
    assert ".." not in key
    assert key.startswith(("net.", "fs.mqueue.", "kernel.s", "kernel.msg"))


def test_a_sysctl_of_the_hosts_namespace_is_refused() -> None:
    host = [{"kind": exec_pb2.NAMESPACE_KIND_IPC, "host": True}]
    with pytest.raises(InvalidArgument, match="host's IPC namespace"):
        validate.container(spec(sysctls={"kernel.sem": "1"}, namespaces=host), RUNTIMES)


@pytest.mark.parametrize("rlimit, words", [
    ({"name": "nofile", "soft": 2, "hard": 1}, "less than or equal"), ({"name": "files", "soft": 1, "hard": 1}, "type"),
    ({"name": "core", "soft": -2, "hard": -1}, "less than or equal"),
])
def test_a_bad_ulimit_is_named(rlimit, words) -> None:
    with pytest.raises(InvalidArgument, match=words):
        validate.container(spec(process={"args": [b"x"], "rlimits": [rlimit]}), RUNTIMES)


@pytest.mark.parametrize("device", [
    {"path_on_host": b"dev/x", "path_in_container": b"/x"}, {"path_on_host": b"/x", "path_in_container": b""},
    {"path_on_host": b"/dev/null", "path_in_container": b"/x", "permissions": "rwx"},
])
def test_a_bad_device_is_named(device) -> None:
    with pytest.raises(InvalidArgument) as refused:
        validate.container(spec(devices=[device]), RUNTIMES)
    assert refused.value.field.startswith("spec.devices[0]")


def test_lists_of_block_devices_are_replaced_by_name() -> None:
    rate = exec_pb2.BlockRate(path=b"/dev/a", rate=1)
    held = exec_pb2.BlockIoLimits(read_bps=[rate], write_bps=[rate])
    given = exec_pb2.BlockIoLimits(read_iops=[rate], write_iops=[rate])
    block_io.replace(held, given, ["read_bps", "read_iops"])
    assert held == exec_pb2.BlockIoLimits(write_bps=[rate], read_iops=[rate])
    with pytest.raises(InvalidArgument, match="no list of limits"):
        block_io.replace(held, given, ["DESCRIPTOR"])
