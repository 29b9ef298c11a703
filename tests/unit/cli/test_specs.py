"""Specifications of run and create: what they become in the API, and docker's words for bad ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier_cli.failure import Failure, UsageError
from pier_cli.flags import parse
from pier_cli.specs import mounts, ports, references
from pier_cli.specs.container import build
from pier_cli.specs.container_flags import FLAGS
from pier_cli.specs.portlist import display


def built(*words: str) -> dict[str, Any]:
    options, rest = parse(FLAGS, [*words, "image", "cmd"], interspersed=False)
    return build(options, rest[0], rest[1:])


@pytest.mark.parametrize(("spec", "bindings"), [
    ("80", {"80/tcp": [("", "")]}),
    ("8080:80", {"80/tcp": [("", "8080")]}),
    ("8080:80/udp", {"80/udp": [("", "8080")]}),
    ("127.0.0.1:8080:80", {"80/tcp": [("127.0.0.1", "8080")]}),
    ("127.0.0.1::80", {"80/tcp": [("127.0.0.1", "")]}),
    ("[::1]:8080:80", {"80/tcp": [("::1", "8080")]}),
    ("90-91:80-81", {"80/tcp": [("", "90")], "81/tcp": [("", "91")]}),
    ("8000-8010:80", {"80/tcp": [("", "8000-8010")]}),
    ("published=8080,target=80,protocol=udp", {"80/udp": [("", "8080")]}),
])
def test_published_ports(spec: str, bindings: dict[str, list[tuple[str, str]]]) -> None:
    exposed, found = ports.parse_publish([spec])
    assert {port: [(one["HostIp"], one["HostPort"]) for one in each] for port, each in found.items()} == bindings
    assert set(exposed) == set(bindings)


@pytest.mark.parametrize(("spec", "message"), [
    ("x", "invalid containerPort: x"),
    ("8080:99999", "invalid containerPort: 99999"),
    ("abc:80", "invalid hostPort: abc"),
    ("80-81:90-93", "invalid ranges specified for container and host Ports: 90-93 and 80-81"),
    ("80/foo", "invalid proto: foo"),
    ("a.b.c:1:2", "invalid IP address: a.b.c"),
    ("1:2:3:4", "invalid IP address: 1:2"),
    ("80:", "no port specified: 80:<empty>"),
])
def test_bad_published_ports(spec: str, message: str) -> None:
    with pytest.raises(Failure) as caught:
        ports.parse_publish([spec])
    assert caught.value.message == message


def test_exposed_ports() -> None:
    assert set(ports.parse_expose(["80", "90-91/udp"])) == {"80/tcp", "90/udp", "91/udp"}
    with pytest.raises(Failure, match=r'invalid range format for --expose: x, error: strconv\.ParseUint: parsing "x"'):
        ports.parse_expose(["x"])


def test_the_ports_of_a_list_are_shown_as_ranges() -> None:
    listed = [
        {"PrivatePort": number, "PublicPort": number, "IP": address, "Type": "tcp"}
        for number in (81, 80, 82, 90) for address in ("0.0.0.0", "::")
    ]
    moved = [{"PrivatePort": 70, "PublicPort": 7000, "IP": "127.0.0.1", "Type": "udp"}]
    plain = [{"PrivatePort": 5, "Type": "tcp"}, {"PrivatePort": 6, "Type": "tcp"}]
    assert display(listed + moved + plain) == (
        "0.0.0.0:80-82->80-82/tcp, [::]:80-82->80-82/tcp, 5-6/tcp, 0.0.0.0:90->90/tcp, [::]:90->90/tcp, "
        "127.0.0.1:7000->70/udp"
    )


def test_volumes_binds_and_relative_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    binds, volumes = mounts.parse_volumes(["/a:/b:ro", "name:/c", "/anonymous", "./x/../y:/z"])
    assert binds == ["/a:/b:ro", "name:/c", f"{tmp_path}/y:/z"]
    assert volumes == {"/anonymous": {}}


def test_mounts() -> None:
    assert mounts.parse_mount("type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave") == {
        "Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True, "BindOptions": {"Propagation": "rslave"},
    }
    assert mounts.parse_mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1777") == {
        "Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1777},
    }
    assert mounts.parse_mount('source=v,target=/v,"volume-opt=o=a,b",volume-nocopy') == {
        "Type": "volume", "Source": "v", "Target": "/v",
        "VolumeOptions": {"DriverConfig": {"Options": {"o": "a,b"}}, "NoCopy": True},
    }


@pytest.mark.parametrize(("text", "message"), [
    ("type=foo", "target is required"),
    ("foo", "invalid field 'foo' must be a key=value pair"),
    ("target=/x,foo=1", "unexpected key 'foo' in 'foo=1'"),
    ("target=/x,readonly=maybe", "invalid value for readonly: maybe"),
    ("type=bind,target=/x,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
    ("type=tmpfs,target=/x,tmpfs-size=y", "invalid value for tmpfs-size: y"),
])
def test_bad_mounts(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        mounts.parse_mount(text)


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8), min_size=1))
def test_quoted_fields_come_back_as_they_were(fields: list[str]) -> None:
    text = ",".join('"' + field.replace('"', '""') + '"' for field in fields)
    assert mounts.csv_fields(text) == fields


@pytest.mark.parametrize(("text", "full", "familiar"), [
    ("busybox", "docker.io/library/busybox", "busybox"),
    ("a/b:v1", "docker.io/a/b", "a/b:v1"),
    ("127.0.0.1:5000/x/y:1.2", "127.0.0.1:5000/x/y", "127.0.0.1:5000/x/y:1.2"),
    ("localhost/x", "localhost/x", "localhost/x"),
    ("docker.io/library/busybox:1", "docker.io/library/busybox", "busybox:1"),
    ("x@sha256:" + "a" * 64, "docker.io/library/x", "x@sha256:" + "a" * 64),
    ("r.example:5000/a__b/c--d", "r.example:5000/a__b/c--d", "r.example:5000/a__b/c--d"),
])
def test_references(text: str, full: str, familiar: str) -> None:
    reference = references.parse(text)
    assert (f"{reference.domain}/{reference.path}", str(reference)) == (full, familiar)


def test_a_reference_without_tag_gets_latest_and_a_digest_keeps_it_off() -> None:
    assert str(references.parse("busybox").tagged()) == "busybox:latest"
    assert references.parse("x@sha256:" + "a" * 64).tagged().tag == ""


@pytest.mark.parametrize(("text", "message"), [
    ("X", "invalid reference format: repository name (library/X) must be lowercase"),
    ("", "invalid reference format"), ("a b", "invalid reference format"), ("a:b:c", "invalid reference format"),
    ("a@sha256:x", "invalid reference format"), ("../a", "invalid reference format"),
    ("a:-x", "invalid reference format"),
    ("a" * 64, f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings"),
])
def test_bad_references(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        references.parse(text)


def test_what_is_not_asked_for_is_not_sent_but_for_dockers_empty_values() -> None:
    body = built()
    host = body.pop("HostConfig")
    assert body == {
        "Image": "image", "Cmd": ["cmd"], "AttachStdin": False, "AttachStdout": True, "AttachStderr": True,
        "Tty": False,
        "OpenStdin": False, "StdinOnce": False,
    }
    assert host.pop("NetworkMode") == "default"
    assert host.pop("RestartPolicy") == {"Name": "no", "MaximumRetryCount": 0}
    assert host.pop("PortBindings") == {}
    assert {str(value) for value in host.values()} == {"[]"}


@pytest.mark.parametrize(("words", "key", "value"), [
    (["-m", "64m"], "Memory", 64 << 20), (["--memory-swap", "-1"], "MemorySwap", -1),
    (["--cpus", "1.5"], "NanoCpus", 1500000000),
    (["--pids-limit", "5"], "PidsLimit", 5), (["--read-only"], "ReadonlyRootfs", True), (["--init"], "Init", True),
    (["--init=false"], "Init", False), (["--cap-add", "a", "--cap-add", "b"], "CapAdd", ["CAP_A", "CAP_B"]),
    (["--restart", "on-failure:3"], "RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 3}),
    (["--ulimit", "nofile=1:2"], "Ulimits", [{"Name": "nofile", "Soft": 1, "Hard": 2}]),
    (["--add-host", "a:1.2.3.4", "--add-host", "b=::1"], "ExtraHosts", ["a:1.2.3.4", "b:::1"]),
    (["--tmpfs", "/t:size=1m"], "Tmpfs", {"/t": "size=1m"}),
    (["--log-driver", "none"], "LogConfig", {"Type": "none", "Config": {}}),
    (["--device", "/dev/a:/dev/b:r"], "Devices",
     [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}]),
    (["--device", "/dev/a:rw"], "Devices",
     [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/a", "CgroupPermissions": "rw"}]),
    (["--sysctl", "net.a=1"], "Sysctls", {"net.a": "1"}), (["--network", "host"], "NetworkMode", "host"),
    (["--shm-size", "1g"], "ShmSize", 1 << 30), (["-P"], "PublishAllPorts", True),
    (["--pid", "container:x"], "PidMode", "container:x"),
    (["--security-opt", "no-new-privileges"], "SecurityOpt", ["no-new-privileges"]),
])
def test_settings_of_the_host(words: list[str], key: str, value: object) -> None:
    assert built(*words)["HostConfig"][key] == value


def test_system_paths_are_unmasked_here() -> None:
    host = built("--security-opt", "systempaths=unconfined")["HostConfig"]
    assert (host["MaskedPaths"], host["ReadonlyPaths"], "SecurityOpt" in host) == ([], [], False)


def test_a_seccomp_profile_is_sent_as_its_content(tmp_path: Path) -> None:
    profile = tmp_path / "p.json"
    profile.write_text('{\n "defaultAction": "SCMP_ACT_ALLOW"\n}')
    host = built("--security-opt", f"seccomp={profile}")["HostConfig"]
    assert host["SecurityOpt"] == ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']


def test_environment_files_come_first_and_names_alone_are_looked_up(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("# comment\n\nA=1\nNOT_SET_ANYWHERE\r\n  B= x \n")
    assert built("-e", "C=3", "--env-file", str(path), "-e", "NOT_SET_EITHER")["Env"] == ["A=1", "B= x ", "C=3"]
    path.write_text("A B=1\n")
    with pytest.raises(Failure, match="variable 'A B' contains whitespaces"):
        built("--env-file", str(path))


def test_several_networks_each_get_an_entry() -> None:
    body = built("--network", "name=a,alias=x,ip=1.2.3.4", "--network", "b", "--network-alias", "y")
    assert body["HostConfig"]["NetworkMode"] == "a"
    assert body["NetworkingConfig"]["EndpointsConfig"] == {
        "a": {"Aliases": ["x", "y"], "IPAMConfig": {"IPv4Address": "1.2.3.4"}}, "b": {},
    }


def test_health_checks() -> None:
    assert built("--health-cmd", "true", "--health-interval", "1s")["Healthcheck"] == {
        "Test": ["CMD-SHELL", "true"], "Interval": 10**9,
    }
    assert built("--no-healthcheck")["Healthcheck"] == {"Test": ["NONE"]}


def test_input_is_closed_with_its_first_client_only_where_it_is_attached() -> None:
    assert built("-i")["StdinOnce"]
    assert not built("-i", "-a", "stdout")["StdinOnce"]


@pytest.mark.parametrize(("words", "message"), [
    (["--restart", "always", "--rm"], "conflicting options: cannot specify both --restart and --rm"),
    (["--restart", "on-failure:x"], "invalid restart policy format: maximum retry count must be an integer"),
    (["--device", "x"], "x is not an absolute path"),
    (["--security-opt", "x"], 'Invalid --security-opt: "x"'),
    (["--pid", "x"], "--pid: invalid PID mode"), (["--uts", "x"], "--uts: invalid UTS mode"),
    (["--no-healthcheck", "--health-cmd", "x"], "--no-healthcheck conflicts with --health-* options"),
    (["--log-driver", "none", "--log-opt", "a=b"], "invalid logging opts for driver none"),
    (["--env-file", "/nope"], "open /nope: no such file or directory"), (["-v", ""], "invalid empty volume spec"),
    (["--network", ""], "no name set for network"),
    (["--network-alias", "a"], "network-scoped aliases are only supported for user-defined networks"),
])
def test_what_docker_refuses_before_it_asks(words: list[str], message: str) -> None:
    with pytest.raises(Failure) as caught:
        built(*words)
    assert caught.value.message == message


@pytest.mark.parametrize(("words", "message"), [
    (["--add-host", "foo"], 'bad format for add-host: "foo"'),
    (["--dns", "x"], "IP address is not correctly formatted: x"),
    (["--ulimit", "x"], "invalid ulimit argument: x"), (["-l", ""], "invalid label '': empty name"),
    (["--ulimit", "nofile=5:3"], "ulimit soft limit must be less than or equal to hard limit: 5 > 3"),
    (["-a", "foo"], "valid streams are STDIN, STDOUT and STDERR"), (["--sysctl", "x"], "sysctl 'x' is not allowed"),
    (["--link", "x:y:z"], "bad format for links: x:y:z"), (["--cpus", "x"], "failed to parse x as a rational number"),
    (["--cpus", "1.0000000001"], "value is too precise"),
])
def test_flags_whose_value_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        built(*words)
    assert caught.value.message.endswith(f" flag: {message}")
