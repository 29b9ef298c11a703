"""Images from a registry, by the real command against a real registry on loopback."""

import pytest

from tests import images
from tests.e2e.conftest import TODAYS_TOO

LAYERED = images.layered()


@pytest.mark.parametrize("schema2", [False, True])
def test_a_pull_shows_each_layer_and_ends_with_the_reference(engine, client, registry, schema2):
    tag = f"v{int(schema2)}"
    digest = registry.push("app", tag, images.pack(LAYERED, schema2))
    name = f"{registry.host}/app:{tag}"
    lines = client.ok("pull", name).splitlines()
    assert lines[0] == f"{tag}: Pulling from app"
    assert lines[-3:] == [f"Digest: {digest}", f"Status: Downloaded newer image for {name}", name]
    steps = [line.partition(": ")[2] for line in lines[1:-3]]
    assert steps.count("Already exists") == 1  # busybox's own layer
    assert steps.count("Pull complete") == len(LAYERED.layers) - 1
    assert client.ok("pull", name).splitlines()[-2] == f"Status: Image is up to date for {name}"


def test_an_index_gives_this_machines_image(engine, registry):
    foreign = images.Image(images.busybox().layers, architecture="s390x", config={"Cmd": ["foreign"]})
    digest = registry.push("multi", "1", images.pack_index([foreign, LAYERED]))
    name = f"{registry.host}/multi:1"
    engine.ok("pull", name)
    found = engine.inspect(name)
    assert found["RepoDigests"] == [f"{registry.host}/multi@{digest}"]
    assert found["Config"]["Env"] == ["LAYERED=yes"]
    engine.ok("pull", f"{registry.host}/multi@{digest}")


def test_a_platform_that_the_index_lacks_is_told(engine, api, registry):
    registry.push("one", "1", images.pack_index([images.busybox()]))
    status, body = api("POST", f"/v1.45/images/create?fromImage={registry.host}/one&tag=1&platform=linux/s390x")
    assert status == 404
    assert "s390x" in body["message"]


@TODAYS_TOO
def test_run_pulls_an_image_that_is_missing_and_runs_it(engine, client, registry):
    registry.push("app", "run", images.pack(LAYERED))
    name = f"{registry.host}/app:run"
    done = client.run("run", "--rm", name, "cat", "/data/changed", "/data/back")
    assert (done.returncode, done.stdout) == (0, "thirdfourth")
    assert f"Unable to find image '{name}' locally" in done.stderr
    assert f"Status: Downloaded newer image for {name}" in done.stderr


def test_progress_has_numbers_and_the_answer_is_a_stream(api, registry):
    registry.push("app", "progress", images.pack(LAYERED))
    status, messages = api("POST", f"/v1.45/images/create?fromImage={registry.host}/app&tag=progress")
    assert status == 200
    assert messages[0] == {"status": "Pulling from app", "id": "progress"}
    assert {len(message["id"]) for message in messages[1:-2]} == {12}
    assert all("progressDetail" in message for message in messages[1:-2])


@pytest.mark.parametrize(
    "query,status,words",
    [
        ("fromImage={host}/nosuch&tag=1", 404, "manifest for {host}/nosuch:1 not found: manifest unknown"),
        ("fromImage={host}/app&tag=nosuch", 404, "manifest for {host}/app:nosuch not found"),
        ("fromImage=127.0.0.1:1/app&tag=1", 500, "dial tcp 127.0.0.1:1: connect: connection refused"),
        ("fromImage={host}/BAD&tag=1", 400, "invalid reference format: repository name (BAD) must be lowercase"),
        ("fromImage={host}/app&tag=-bad", 400, "invalid reference format"),
        ("fromImage={host}/nosuch", 404, "repository {host}/nosuch not found"),
        ("fromImage=127.0.0.1:1/app", 500, "dial tcp 127.0.0.1:1: connect: connection refused"),
        ("fromImage={host}/app&tag=1&platform=a/b/c/d", 400, "platform"),
        ("", 400, "fromImage"),
    ],
)
def test_a_pull_that_cannot_begin_has_dockers_status_and_words(api, registry, query, status, words):
    registry.push("app", "1", images.pack(images.busybox()))
    got, body = api("POST", "/v1.45/images/create?" + query.format(host=registry.host))
    assert (got, words.format(host=registry.host) in body["message"]) == (status, True), body


def test_a_layer_that_is_not_what_it_should_be_ends_the_stream_with_an_error(engine, api, registry):
    packed = images.pack(LAYERED)
    registry.push("spoilt", "1", packed)
    layer = packed.blobs[-1]
    path = registry.blob_path(images_digest(layer))
    path.write_bytes(bytes(len(layer.data)))
    before = engine.ok("images", "-aq")
    status, messages = api("POST", f"/v1.45/images/create?fromImage={registry.host}/spoilt&tag=1")
    assert status == 200
    assert messages[-1]["error"] == messages[-1]["errorDetail"]["message"]
    assert engine.ok("images", "-aq") == before
    done = engine.docker("pull", f"{registry.host}/spoilt:1")
    assert done.returncode == 1


def images_digest(blob):
    from deploy.busybox_image import digest

    return digest(blob.data)


@pytest.mark.parametrize("header", ["e30=", "e30", "not base64 at all", "eyJ1c2VybmFtZSI6IiIsInBhc3N3b3JkIjoiIn0"])
def test_a_header_without_credentials_is_an_anonymous_pull(api, registry, header):
    registry.push("app", "auth", images.pack(images.busybox()))
    status, _ = api(
        "POST", f"/v1.45/images/create?fromImage={registry.host}/app&tag=auth", **{"X-Registry-Auth": header})
    assert status == 200


def test_a_registry_is_asked_what_it_has_without_a_pull(api, registry, engine):
    digest = registry.push("looked", "1", images.pack(LAYERED))
    status, body = api("GET", f"/v1.45/distribution/{registry.host}/looked:1/json")
    assert status == 200
    assert body["Descriptor"]["digest"] == digest
    assert body["Platforms"][0]["os"] == "linux"
    index = registry.push("looked", "2", images.pack_index([LAYERED, images.busybox()]))
    status, body = api("GET", f"/v1.45/distribution/{registry.host}/looked:2/json")
    assert (status, body["Descriptor"]["digest"]) == (200, index)
    assert api("GET", f"/v1.45/distribution/{registry.host}/nothing:1/json")[0] == 404
    assert engine.ok("images", "-q", f"{registry.host}/looked") == ""
