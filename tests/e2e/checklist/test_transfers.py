"""Lines 16, 22, 23, 25, 26, 28: archives, names of images, credentials, bodies unread, capabilities, the socket."""

import base64
import io
import json
import os
import stat
import tarfile

import pytest

from tests import images
from tests.e2e.wire import frames

_STAT = "x-docker-container-path-stat"


def tar_of(name, data=b"x", kind=tarfile.REGTYPE, target=""):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size, info.type, info.linkname = (len(data) if kind == tarfile.REGTYPE else 0), kind, target
        archive.addfile(info, io.BytesIO(data))
    return raw.getvalue()


@pytest.mark.parametrize("path, mode, target", [
    ("/tmp", 2148532735, ""), ("/link", 134218239, "/etc/passwd"), ("/etc/passwd", 0o644, ""),
])
def test_line_16_a_stat_has_gos_modes_and_does_not_follow_a_link(wire, path, mode, target):
    id_ = wire.create(Cmd=["true"])
    link = tar_of("link", kind=tarfile.SYMTYPE, target="/etc/passwd")
    assert wire.call("PUT", f"/containers/{id_}/archive?path=/", link).status == 200
    answer = wire.call("HEAD", f"/containers/{id_}/archive?path={path}")
    assert (answer.status, answer.body) == (200, b"")
    found = json.loads(base64.b64decode(answer.headers[_STAT]))
    assert (found["name"], found["mode"], found["linkTarget"]) == (os.path.basename(path), mode, target)
    assert found["mtime"].endswith("Z")


def test_line_16_what_is_unpacked_stays_in_the_container(wire, tmp_path):
    id_ = wire.create(Cmd=["true"])
    victim = tmp_path / "victim"
    victim.mkdir()
    link = tar_of("out", kind=tarfile.SYMTYPE, target=str(victim))
    assert wire.call("PUT", f"/containers/{id_}/archive?path=/", link).status == 200
    for name, path in (("../../../../x", "/"), ("/x", "/"), ("out/x", "/"), ("x", "/out")):
        wire.call("PUT", f"/containers/{id_}/archive?path={path}", tar_of(name))
        assert list(victim.iterdir()) == []
    answer = wire.call("PUT", f"/containers/{id_}/archive?path=/nosuch", tar_of("x"))
    assert answer.status == 404
    answer = wire.call("PUT", f"/containers/{id_}/archive?path=/etc/passwd", tar_of("x"))
    assert (answer.status, "not a directory" in answer.message) == (400, True)


def test_line_22_a_registrys_port_slashes_dots_and_digests_in_a_path_name_an_image(engine, wire, registry):
    digest = registry.push("a/b.c", "v1.0", images.pack(images.busybox()))
    name = f"{registry.host}/a/b.c"
    answer = wire.call("POST", f"/images/create?fromImage={name}&tag=v1.0")
    assert "error" not in answer.objects[-1], "a registry on loopback is spoken to without TLS"
    try:
        for spelt in (f"{name}:v1.0", f"{name}@{digest}", name.replace("/", "%2F").replace(":", "%3A") + ":v1.0"):
            assert f"{name}:v1.0" in wire.get(f"/images/{spelt}/json")["RepoTags"]
        assert wire.call("POST", f"/images/{name}:v1.0/tag?repo=get/x&tag=json").status == 201
        assert "get/x:json" in wire.get("/images/get/x:json/json")["RepoTags"]
        assert wire.get("/images/get/x:json/history")[0]["Tags"]
        assert wire.get(f"/distribution/{name}:v1.0/json")["Descriptor"]["digest"] == digest
        wire.post(f"/images/{name}/push?tag=v1.0")
    finally:
        for spelt in (f"{name}:v1.0", f"{name}@{digest}", "get/x:json"):
            wire.call("DELETE", f"/images/{spelt}")


@pytest.mark.parametrize("document, encode", [
    ({}, base64.urlsafe_b64encode), ({"username": "", "password": ""}, base64.b64encode),
    ({"username": "a?~", "password": "b>~"}, base64.urlsafe_b64encode), ({"username": "a?~"}, base64.b64encode),
])
def test_line_23_credentials_are_read_in_both_alphabets_with_and_without_padding(wire, registry, document, encode):
    registry.push("open", "1", images.pack(images.busybox()))
    text = encode(json.dumps(document).encode()).decode()
    for header in (text, text.rstrip("=")):
        answer = wire.call("POST", f"/images/create?fromImage={registry.host}/open&tag=1", X_Registry_Auth=header)
        assert (answer.status, "error" in answer.objects[-1]) == (200, False)
    assert wire.call("DELETE", f"/images/{registry.host}/open:1").status == 200


@pytest.mark.parametrize("line", [
    "PUT /containers/nosuch/archive?path=/", "PUT /containers/nosuch/archive", "POST /images/load?platform=x/y",
    "POST /build?nosuchoption=1&networkmode=container:nosuch", "POST /nosuch", "POST /containers/create?name=a",
])
def test_line_25_an_early_refusal_reads_what_was_sent_or_closes_the_connection(wire, line):
    body = os.urandom(3 << 20)
    with wire.connected() as connection:
        connection.request(line, body, headers={"Content-Type": "application/x-tar"})
        head = connection.head()
        assert head.status >= 400 or line.startswith("POST /images/load"), head
        size = int(head.headers.get("content-length", "0"))
        if size:
            assert json.loads(connection.exactly(size))["message"]
        if head.headers.get("connection", "").lower() != "close" and size:
            connection.request("GET /_ping")
            assert connection.head().status == 200


def test_line_25_a_connection_is_kept_after_refusals_of_small_bodies(wire):
    with wire.connected() as connection:
        for _ in range(5):
            connection.request("POST /containers/create?name=a", b'{"Image": "busybox"}')
            head = connection.head()
            assert head.status == 400
            connection.exactly(int(head.headers["content-length"]))
            connection.request("GET /_ping")
            assert connection.head().status == 200
            assert connection.exactly(2) == b"OK"


def test_line_26_all_capabilities_are_those_that_the_engine_may_give(wire, engine):
    with open(f"/proc/{engine.pid('execd')}/status", encoding="ascii") as status:
        mine = next(line.split()[1] for line in status if line.startswith("CapBnd:"))
    for options in ({"Privileged": True}, {"CapAdd": ["ALL"]}):
        id_ = wire.run("grep CapEff /proc/self/status", HostConfig=options)
        assert wire.call("POST", f"/containers/{id_}/wait").json == {"StatusCode": 0}
        ((_, line),) = frames(wire.call("GET", f"/containers/{id_}/logs?stdout=1").body)
        assert int(line.split()[1], 16) == int(mine, 16)


def test_line_28_the_socket_is_the_groups_and_any_host_is_answered(wire, engine):
    assert stat.S_IMODE(os.stat(engine.instance.api_socket).st_mode) == 0o660
    for host in ("docker", "localhost", "api.moby.localhost", "%2Fvar%2Frun%2Fdocker.sock", ""):
        assert wire.call("GET", "/_ping", Host=host).body == b"OK"
