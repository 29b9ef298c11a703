"""Every flag that ``--help`` lists changes what the engine is asked for: none is accepted and ignored.

For ``run`` and ``create`` each flag has a sample, and the test fails for one without; the commands around them have
theirs below. What the engine then does is for the tests of the engine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pier_cli import out
from pier_cli.context import Context
from pier_cli.flags import parse
from pier_cli.main import load
from pier_cli.specs.container import build
from pier_cli.specs.container_flags import FLAGS
from tests.unit.cli.server import json_answer, serving

SAMPLES = {
    "add-host": "a:192.0.2.1", "annotation": "a=b", "attach": "stdout", "blkio-weight": "300",
    "blkio-weight-device": "/dev/null:300", "cap-add": "NET_ADMIN", "cap-drop": "ALL", "cgroup-parent": "/parent",
    "cgroupns": "host", "cpu-period": "50000", "cpu-quota": "25000",
    "cpu-rt-period": "1000000", "cpu-rt-runtime": "950000", "cpu-shares": "512", "cpus": "0.5", "cpuset-cpus": "0",
    "cpuset-mems": "0", "device": "/dev/null", "device-cgroup-rule": "c 1:3 rwm", "device-read-bps": "/dev/null:1mb",
    "device-read-iops": "/dev/null:100", "device-write-bps": "/dev/null:1mb", "device-write-iops": "/dev/null:100",
    "dns": "192.0.2.53", "dns-option": "ndots:1", "dns-search": "example.org", "domainname": "example.org",
    "entrypoint": "true", "env": "A=1", "env-file": "FILE", "expose": "80", "gpus": "all", "group-add": "audio",
    "health-cmd": "true", "health-interval": "3s", "health-retries": "2", "health-start-interval": "1s",
    "health-start-period": "9s", "health-timeout": "2s", "hostname": "h", "init": "", "interactive": "",
    "ip": "192.0.2.2", "ip6": "2001:db8::2", "ipc": "host", "label": "a=b", "label-file": "FILE", "link": "db:db",
    "log-driver": "none", "log-opt": "max-size=1m", "mac-address": "02:42:ac:11:00:02", "memory": "64m",
    "memory-reservation": "32m", "memory-swap": "128m", "memory-swappiness": "10", "mount": "type=tmpfs,dst=/x",
    "network": "none", "network-alias": "x", "no-healthcheck": "", "oom-kill-disable": "", "oom-score-adj": "100",
    "pid": "host", "pids-limit": "100", "privileged": "", "publish": "80:80", "publish-all": "", "read-only": "",
    "restart": "always", "rm": "", "runtime": "runc", "security-opt": "no-new-privileges", "shm-size": "1m",
    "stop-signal": "SIGINT", "stop-timeout": "3", "sysctl": "net.ipv4.ip_forward=1", "tmpfs": "/x", "tty": "",
    "ulimit": "nofile=10:20", "user": "1", "userns": "host", "uts": "host", "volume": "v:/x", "volume-driver": "local",
    "volumes-from": "other", "workdir": "/tmp",
}
OF_THE_COMMAND = frozenset({"name", "platform", "pull", "quiet", "cidfile"})
"""What is no part of the container's specification: `name` and `platform` are the query's, the others the command's."""
WITH = {"ip": ["--network=n"], "ip6": ["--network=n"], "network-alias": ["--network=n"], "mac-address": [],
        "memory-swap": ["--memory=64m"], "health-interval": ["--health-cmd=true"], "link": []}
"""Flags that say something only beside others."""


def specification(*words: str) -> dict[str, Any]:
    options, rest = parse(FLAGS, [*words, "image"], interspersed=False)
    return build(options, rest[0], rest[1:])


@pytest.mark.parametrize("flag", [flag.long for flag in FLAGS if flag.long not in OF_THE_COMMAND])
def test_a_flag_of_run_and_create_is_part_of_the_request(flag: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("key=value\n")
    beside = WITH.get(flag, [])
    value = SAMPLES[flag].replace("FILE", str(tmp_path / "file"))
    word = f"--{flag}={value}" if value else f"--{flag}"
    assert specification(*beside, word) != specification(*beside)


def asked(tmp_path: Path, words: str, arguments: list[str], *answers: bytes) -> tuple[dict[str, list[str]], Any]:
    """Query and body of the last request that the command sends."""
    command = load(words)
    options, rest = parse(command.flags, arguments, command.interspersed)
    with serving(tmp_path / "s", *answers) as server:
        context = Context(server.host)
        context.engine._version = "1.51"
        command.run(context, options, rest)
    out.flush()  # what it printed is no later test's
    head, _, body = server.requests[-1].partition(b"\r\n\r\n")
    target = head.split()[1].decode()
    return parse_qs(urlsplit(target).query), json.loads(body) if body else None


EMPTY = json_answer("{}")


@pytest.mark.parametrize(("flag", "path", "value"), [
    ("--attachable", "Attachable", True), ("--internal", "Internal", True), ("--ipv6", "EnableIPv6", True),
    ("--ipv4=false", "EnableIPv4", False), ("--ipam-driver=other", "IPAM.Driver", "other"),
    ("--ipam-opt=a=b", "IPAM.Options", {"a": "b"}), ("--opt=a=b", "Options", {"a": "b"}),
    ("--label=a=b", "Labels", {"a": "b"}), ("--driver=macvlan", "Driver", "macvlan"),
])
def test_a_flag_of_network_create(tmp_path: Path, flag: str, path: str, value: object) -> None:
    _, body = asked(tmp_path, "network create", [flag, "net"], json_answer('{"Id": "x"}'))
    for key in path.split("."):
        body = body[key]
    assert body == value


@pytest.mark.parametrize(("flag", "path", "value"), [
    ("--driver-opt=a=b", "DriverOpts", {"a": "b"}), ("--gw-priority=3", "GwPriority", 3),
    ("--link-local-ip=169.254.1.1", "IPAMConfig.LinkLocalIPs", ["169.254.1.1"]),
    ("--ip=192.0.2.3", "IPAMConfig.IPv4Address", "192.0.2.3"), ("--alias=x", "Aliases", ["x"]),
    ("--ip6=2001:db8::3", "IPAMConfig.IPv6Address", "2001:db8::3"), ("--link=db:d", "Links", ["db:d"]),
])
def test_a_flag_of_network_connect(tmp_path: Path, flag: str, path: str, value: object) -> None:
    _, body = asked(tmp_path, "network connect", [flag, "net", "c"], EMPTY)
    found = body["EndpointConfig"]
    for key in path.split("."):
        found = found[key]
    assert found == value


@pytest.mark.parametrize(("flag", "key", "value"), [
    ("--blkio-weight=300", "BlkioWeight", 300), ("--cpu-quota=5000", "CpuQuota", 5000),
    ("--pids-limit=9", "PidsLimit", 9),
    ("--memory-reservation=32m", "MemoryReservation", 32 << 20), ("--memory=64m", "Memory", 64 << 20),
    ("--cpus=1.5", "NanoCpus", 1500000000), ("--cpuset-mems=0", "CpusetMems", "0"),
    ("--cpu-period=5000", "CpuPeriod", 5000),
])
def test_a_flag_of_update(tmp_path: Path, flag: str, key: str, value: object) -> None:
    _, body = asked(tmp_path, "update", [flag, "c"], EMPTY)
    assert body[key] == value


def test_no_prune_and_details_are_the_engines_to_honour_or_refuse(tmp_path: Path) -> None:
    query, _ = asked(tmp_path, "rmi", ["--no-prune", "-f", "x"], json_answer("[]"))
    assert query == {"force": ["1"], "noprune": ["1"]}
    shown = json_answer('{"Id": "x", "Config": {"Tty": true}}')
    (tmp_path / "s").unlink()
    query, _ = asked(tmp_path, "logs", ["--details", "x"], shown, json_answer(""))
    assert query["details"] == ["1"]


def test_the_room_that_a_prune_of_builds_leaves(tmp_path: Path) -> None:
    query, _ = asked(tmp_path, "builder prune", ["-f", "--reserved-space=1m"],
                     json_answer('{"SpaceReclaimed": 0, "CachesDeleted": []}'))
    assert str(1 << 20) in json.dumps(query)
