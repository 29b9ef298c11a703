"""Every flag that ``--help`` lists changes what the engine is asked for: none is accepted and ignored.

For ``run`` and ``create`` each flag has a sample, and the test fails for one without; the commands around them have
theirs below. What the engine then does is for the tests of the engine.
"""

from __future__ import annotations

import json
import posix
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pier_cli import out
from pier_cli.commands.build import _query as build_query
from pier_cli.context import Context
from pier_cli.failure import Failure
from pier_cli.flags import Options, parse
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


@pytest.mark.parametrize(("arguments", "added", "dropped"), [
    (["--cap-add=net_admin", "--cap-add=CAP_CHOWN"], ["CAP_CHOWN", "CAP_NET_ADMIN"], None),
    (["--cap-drop=all", "--cap-drop=CHOWN", "--cap-add=CHOWN"], ["CAP_CHOWN"], ["ALL"]),
    (["--cap-add=SYS_TIME", "--cap-drop=CAP_SYS_TIME"], ["CAP_SYS_TIME"], None), ([], None, None),
])
def test_capabilities_go_out_by_the_kernels_names(
    arguments: list[str], added: list[str] | None, dropped: list[str] | None
) -> None:
    host = specification(*arguments)["HostConfig"]
    assert (host.get("CapAdd"), host.get("CapDrop")) == (added, dropped)


def sent(
    socket: Path, words: str, arguments: list[str], *answers: bytes, version: str = "1.51"
) -> list[bytes]:
    """The requests that the command sends to an engine that answers so."""
    options, rest = parsed(words, arguments)
    with serving(socket, *answers) as server:
        context = Context(server.host)
        context.engine._version = version
        try:
            load(words).run(context, options, rest)
        finally:
            out.flush()  # what it printed is no later test's
    return server.requests


def parsed(words: str, arguments: list[str]) -> tuple[Options, list[str]]:
    command = load(words)
    return parse(command.flags, arguments, command.interspersed)


def asked(
    tmp_path: Path, words: str, arguments: list[str], *answers: bytes, version: str = "1.51"
) -> tuple[dict[str, list[str]], Any]:
    """Query and body of the last request that the command sends."""
    return query_and_body(sent(tmp_path / "s", words, arguments, *answers, version=version)[-1])


def query_and_body(request: bytes) -> tuple[dict[str, list[str]], Any]:
    head, _, body = request.partition(b"\r\n\r\n")
    target = head.split()[1].decode()
    return parse_qs(urlsplit(target).query), json.loads(body) if body else None


EMPTY = json_answer("{}")


@pytest.mark.parametrize(("version", "own"), [("1.43", "02:42:ac:11:00:02"), ("1.44", None)])
def test_a_mac_address_is_the_endpoints_and_for_old_engines_the_containers(
    tmp_path: Path, version: str, own: str | None
) -> None:
    _, body = asked(tmp_path, "create", ["--mac-address=02:42:ac:11:00:02", "x"], json_answer('{"Id": "x"}'),
                    version=version)
    assert body.get("MacAddress") == own
    assert body["NetworkingConfig"]["EndpointsConfig"]["default"]["MacAddress"] == "02:42:ac:11:00:02"


def test_one_subnet_is_the_engines_to_judge(tmp_path: Path) -> None:
    _, body = asked(tmp_path, "network create", ["--subnet=nope", "net"], json_answer('{"Id": "x"}'))
    assert body["IPAM"]["Config"] == [{"Subnet": "nope"}]


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


NOTHING = json_answer("[]")
ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(("words", "arguments", "answer", "query"), [
    ("ps", ["--latest"], NOTHING, {"limit": ["1"]}),
    ("images", ["--filter", "dangling=true"], NOTHING, {"filters": ['{"dangling":{"true":true}}']}),
    ("container inspect", ["--size", "x"], EMPTY, {"size": ["1"]}),
    ("rm", ["--link", "/web/db"], EMPTY, {"link": ["1"]}),
    ("stop", ["--signal", "USR1", "x"], EMPTY, {"signal": ["USR1"]}),
    ("restart", ["--signal", "USR1", "x"], EMPTY, {"signal": ["USR1"]}),
    ("pull", ["--platform", "linux/arm64", "x"], EMPTY,
     {"fromImage": ["x"], "tag": ["latest"], "platform": ["linux/arm64"]}),
    ("import", ["--platform", "linux/arm64", "http://192.0.2.1/x"], EMPTY,
     {"fromSrc": ["http://192.0.2.1/x"], "platform": ["linux/arm64"]}),
    ("create", ["--platform", "linux/arm64", "x"], json_answer('{"Id": "x"}'), {"platform": ["linux/arm64"]}),
])
def test_a_flag_is_part_of_the_query(
    tmp_path: Path, words: str, arguments: list[str], answer: bytes, query: dict[str, list[str]]
) -> None:
    assert asked(tmp_path, words, arguments, answer)[0] == query


def test_a_run_asks_for_an_image_of_the_platform(tmp_path: Path) -> None:
    made, _ = sent(tmp_path / "s", "run", ["--platform", "linux/arm64", "-d", "x"], json_answer('{"Id": "x"}'), EMPTY)
    assert query_and_body(made)[0] == {"platform": ["linux/arm64"]}


@pytest.mark.parametrize(("words", "arguments", "key", "value"), [
    ("network disconnect", ["--force", "net", "c"], "Force", True),
    ("update", ["--cpuset-cpus", "0-1", "c"], "CpusetCpus", "0-1"),
])
def test_a_flag_is_part_of_the_body(
    tmp_path: Path, words: str, arguments: list[str], key: str, value: object
) -> None:
    _, body = asked(tmp_path, words, arguments, EMPTY)
    assert body[key] == value


def test_a_volume_has_the_name_of_the_flag(tmp_path: Path) -> None:
    _, body = asked(tmp_path, "volume create", ["--name", "v"], json_answer('{"Name": "v"}'))
    assert body["Name"] == "v"


@pytest.mark.parametrize(("flag", "key", "value"), [
    ("--user=1:2", "User", "1:2"), ("--privileged", "Privileged", True), ("--env-file=FILE", "Env", ["A=1"]),
    ("--detach-keys=ctrl-x", "DetachKeys", "ctrl-x"),
])
def test_a_flag_of_exec_is_what_the_process_is_made_with(tmp_path: Path, flag: str, key: str, value: object) -> None:
    (tmp_path / "file").write_text("A=1\n")
    word = flag.replace("FILE", str(tmp_path / "file"))
    made, _ = sent(tmp_path / "s", "exec", ["--detach", word, "c", "true"], json_answer('{"Id": "x"}'), EMPTY)
    assert query_and_body(made)[1][key] == value


@pytest.mark.parametrize(("flag", "expected"), [
    ("--add-host=a:192.0.2.1", ("extrahosts", "a:192.0.2.1")), ("--cache-from=a,b", ("cachefrom", '["a","b"]')),
    ("--cgroup-parent=/p", ("cgroupparent", "/p")), ("--cpu-period=5000", ("cpuperiod", "5000")),
    ("--cpu-quota=5000", ("cpuquota", "5000")), ("--cpu-shares=5", ("cpushares", "5")),
    ("--cpuset-cpus=0", ("cpusetcpus", "0")), ("--cpuset-mems=0", ("cpusetmems", "0")),
    ("--label=a=b", ("labels", '{"a":"b"}')), ("--memory=4m", ("memory", "4194304")),
    ("--memory-swap=8m", ("memswap", "8388608")), ("--network=host", ("networkmode", "host")),
    ("--no-cache", ("nocache", "1")), ("--platform=linux/arm64", ("platform", "linux/arm64")),
    ("--pull", ("pull", "1")), ("--shm-size=1m", ("shmsize", "1048576")),
    ("--target=t", ("target", "t")), ("--tag=a:b", ("t", "a:b")),
    ("--ulimit=nofile=1:2", ("ulimits", '[{"Name":"nofile","Soft":1,"Hard":2}]')),
])
def test_a_flag_of_build_is_part_of_the_query(flag: str, expected: tuple[str, str]) -> None:
    assert build_query(parsed("build", [flag, "."])[0]) == [expected]
    assert build_query(parsed("build", ["."])[0]) == []


def test_a_create_asks_for_the_image_first_where_it_is_to_be_pulled_always(tmp_path: Path) -> None:
    made = json_answer('{"Id": "x"}')
    assert len(sent(tmp_path / "never", "create", ["--pull=never", "x"], made)) == 1
    pull, create = sent(tmp_path / "always", "create", ["--pull=always", "x"], EMPTY, made)
    assert b" /v1.51/images/create?" in pull
    assert b" /v1.51/containers/create" in create


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("words", ["create", "run"])
def test_a_pull_on_the_way_tells_nothing_where_it_is_to_be_quiet(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: str, quiet: bool
) -> None:
    answers = (json_answer('{"status": "Pulling"}'), json_answer('{"Id": "x"}'))
    if words == "run":
        sent(tmp_path / "s", "run", ["--pull=always", f"--quiet={quiet}", "--detach", "x"], *answers, EMPTY)
    else:
        sent(tmp_path / "s", "create", ["--pull=always", f"--quiet={quiet}", "x"], *answers)
    assert ("Pulling" in capfd.readouterr().err) is not quiet


def test_a_prune_of_the_system_takes_more_where_it_is_told_to(tmp_path: Path) -> None:
    answer = json_answer(json.dumps({
        "ContainersDeleted": [], "NetworksDeleted": [], "VolumesDeleted": [], "ImagesDeleted": [], "CachesDeleted": [],
        "SpaceReclaimed": 0}))
    plain = sent(tmp_path / "plain", "system prune", ["-f"], *[answer] * 4)
    assert not any(b"/volumes/prune" in request for request in plain)
    more = sent(tmp_path / "more", "system prune", ["-f", "--volumes"], *[answer] * 5)
    assert any(b"/volumes/prune" in request for request in more)
    every = sent(tmp_path / "all", "system prune", ["-f", "--all"], *[answer] * 4)
    (images,) = [request for request in every if b"/images/prune" in request]
    assert json.loads(query_and_body(images)[0]["filters"][0]) == {"dangling": {"false": True}}


def test_a_network_that_is_not_there_is_no_error_where_it_is_forced(tmp_path: Path) -> None:
    gone = json_answer('{"message": "network nope not found"}', "404 Not Found")
    with pytest.raises(Failure):
        sent(tmp_path / "plain", "network rm", ["nope"], gone)
    sent(tmp_path / "forced", "network rm", ["--force", "nope"], gone)


def test_statistics_are_of_all_containers_and_with_whole_ids_where_that_is_asked_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    listed, sample = json_answer(f'[{{"Id": "{ID}"}}]'), json_answer(f'{{"id": "{ID}", "name": "/c"}}')
    requests = sent(tmp_path / "s", "stats", ["--all", "--no-trunc", "--no-stream", "--format={{.ID}}"], listed, sample,
                    listed, sample)
    assert query_and_body(requests[0])[0] == {"all": ["1"]}
    assert capfd.readouterr().out == f"{ID}\n"


def test_a_password_is_taken_from_its_flag_with_a_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(posix.environ, b"DOCKER_CONFIG", str(tmp_path).encode())
    answer = json_answer('{"Status": "Login Succeeded"}')
    _, body = asked(tmp_path, "login", ["--username=me", "--password=word", "192.0.2.1"], answer)
    assert (body["username"], body["password"]) == ("me", "word")
    assert "insecure" in capfd.readouterr().err


def test_sizes_and_times_are_numbers_where_nobody_is_to_read_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    layer = json_answer('[{"Id": "x", "Created": 1600000000, "CreatedBy": "y", "Size": 4096, "Comment": ""}]')
    sent(tmp_path / "s", "history", ["--human=false", "--format={{.Size}}", "x"], layer)
    assert capfd.readouterr().out == "4096\n"
    sent(tmp_path / "other", "history", ["--format={{.Size}}", "x"], layer)
    assert capfd.readouterr().out == "4.1kB\n"
