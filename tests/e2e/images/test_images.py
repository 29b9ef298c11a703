"""Images that are here: list, inspect, history, tag, remove."""

import json
import urllib.parse

import pytest

from deploy.busybox_image import docker_archive
from tests import images
from tests.e2e.conftest import TODAYS_TOO

LAYERED = images.layered()


@pytest.fixture
def app(engine):
    """An image of four layers called app:1; its id."""
    done = engine.docker("load", input=docker_archive({"app:1": LAYERED}), text=False)
    assert done.returncode == 0
    return engine.inspect("app:1")["Id"]


def test_an_image_is_found_by_name_tag_id_and_prefix(engine, app):
    short = app.removeprefix("sha256:")
    for name in ("app:1", "docker.io/library/app:1", app, short, short[:12], f"sha256:{short[:8]}"):
        assert engine.inspect(name)["Id"] == app


@TODAYS_TOO
def test_the_list_shows_names_sizes_and_ids(engine, client, app):
    table = client.ok("images").splitlines()
    assert table[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert {tuple(line.split()[:2]) for line in table[1:]} == {("app", "1"), ("busybox", "latest")}
    assert app.removeprefix("sha256:")[:12] in client.ok("images", "-q", "app")


@pytest.mark.parametrize(
    "filters,names",
    [
        ({}, {"app:1", "busybox:latest"}),
        ({"reference": ["app"]}, {"app:1"}),
        ({"reference": {"a*:1": True}}, {"app:1"}),
        ({"reference": ["app:2"]}, set()),
        ({"dangling": ["true"]}, set()),
        ({"label": ["nosuch"]}, set()),
        ({"since": ["app:1"]}, set()),
    ],
)
def test_the_list_is_filtered(api, app, filters, names):
    status, found = api("GET", "/v1.45/images/json?filters=" + urllib.parse.quote(json.dumps(filters)))
    assert status == 200
    assert {name for image in found for name in image["RepoTags"]} == names


@pytest.mark.parametrize("filters,words", [("nonsense", "invalid filter"), ('{"nope":["x"]}', "invalid filter 'nope'"),
                                           ('{"reference":["["]}', "invalid filter"), ('{"until":["x"]}', "invalid")])
def test_a_bad_filter_is_refused(api, filters, words):
    status, body = api("GET", "/v1.45/images/json?filters=" + urllib.parse.quote(filters))
    assert (status, words in body["message"]) == (400, True)


@TODAYS_TOO
def test_a_history_has_a_line_for_each_step(engine, client, app):
    lines = client.ok("history", "-q", "app:1").splitlines()
    assert lines[0] == app.removeprefix("sha256:")[:12]
    assert lines[1:] == ["<missing>"] * (len(LAYERED.layers) - 1)


def test_a_tag_is_another_name_and_moves(engine, client, app):
    client.ok("tag", "app:1", "127.0.0.1:5000/other/app:v2.0")
    assert engine.inspect("127.0.0.1:5000/other/app:v2.0")["Id"] == app
    client.ok("tag", "busybox", "app:1")
    assert engine.inspect("app:1")["Id"] != app


@pytest.mark.parametrize(
    "path,status,words",
    [
        ("nosuch/tag?repo=x&tag=1", 404, "No such image: nosuch:latest"),
        ("busybox/tag?repo=BAD&tag=1", 400, "must be lowercase"),
        ("busybox/tag?repo=x&tag=-", 400, "invalid"),
        ("busybox/tag?repo=x@sha256:" + "a" * 64, 400, "digest reference"),
        ("busybox/tag", 400, "invalid reference format"),
    ],
)
def test_a_tag_that_cannot_be_is_refused(api, path, status, words):
    got, body = api("POST", f"/v1.45/images/{path}")
    assert (got, words in body["message"]) == (status, True), body


@TODAYS_TOO
def test_removing_one_of_two_names_untags(engine, client, app):
    engine.ok("tag", "app:1", "app:2")
    assert client.ok("rmi", "app:2") == "Untagged: app:2"
    lines = client.ok("rmi", "app:1").splitlines()
    assert lines[0] == "Untagged: app:1"
    assert lines[1] == f"Deleted: {app}"
    assert len(lines) == 1 + 1 + len(LAYERED.layers) - 1  # busybox's layer is busybox's too
    done = client.run("inspect", "--type", "image", "app:1")
    assert done.returncode == 1
    assert "No such image: app:1" in done.stderr or "No such object" in done.stderr


def test_an_image_in_several_repositories_is_not_removed_by_id_without_force(engine, api, app):
    engine.ok("tag", "app:1", "other:1")
    status, body = api("DELETE", f"/v1.45/images/{app}")
    assert status == 409
    assert "(must be forced) - image is referenced in multiple repositories" in body["message"]
    status, body = api("DELETE", f"/v1.45/images/{app}?force=1")
    assert status == 200
    assert {"Deleted": app} in body
    assert {"Untagged": "app:1"} in body


def test_an_image_that_a_container_uses_is_a_conflict(engine, api, app):
    id_ = engine.ok("create", "app:1", "true")
    status, body = api("DELETE", "/v1.45/images/app:1")
    assert status == 409
    assert body["message"] == (
        f'conflict: unable to remove repository reference "app:1" (must force) - container {id_[:12]} is using its '
        f"referenced image {app.removeprefix('sha256:')[:12]}"
    )
    assert api("DELETE", "/v1.45/images/app:1?force=1")[0] == 200
    engine.ok("rm", id_)


def test_an_image_of_a_running_container_is_never_removed(engine, api, app):
    id_ = engine.ok("run", "-d", "app:1", "sleep", "600")
    status, body = api("DELETE", f"/v1.45/images/{app}?force=1")
    assert status == 409
    assert "cannot be forced" in body["message"]
    assert id_[:12] in body["message"]
    engine.ok("rm", "-f", id_)


@pytest.mark.parametrize("path", ["nosuch/json", "nosuch/history", "127.0.0.1:5000/a/b:v1/json"])
def test_an_unknown_image_is_not_found(api, path):
    status, body = api("GET", f"/v1.45/images/{path}")
    name = path.rpartition("/")[0]
    assert (status, body["message"]) == (404, f"No such image: {name if ':v' in name else name + ':latest'}")


@pytest.mark.parametrize("query, status, words", [
    ("term=x", 500, "docker.io has no index that this engine can ask"),
    ("term=registry.example/x", 500, "registry.example has no index"),
    ("term=x&limit=0", 500, "no index"), ("term=x&limit=101", 400, "limit 101 is outside the range of [1, 100]"),
    ("term=x&limit=few", 400, "not an integer"), ("term=https://x/y", 400, "must not have a scheme"),
    ("term=x&filters={%22is-official%22:[%22maybe%22]}", 400, "is-official"),
    ("term=x&filters={%22color%22:[%22red%22]}", 400, "color"),
])
def test_a_search_says_that_there_is_no_index_or_what_is_wrong_with_it(api, query, status, words):
    answered, body = api("GET", f"/v1.45/images/search?{query}")
    assert (answered, words in body["message"]) == (status, True), body


def test_fsck_shows_a_damaged_image_and_what_heals_it(engine):
    archive = docker_archive({"hurt:1": images.layered()})
    engine.docker("load", input=archive, text=False)
    digest = engine.inspect("hurt:1")["Id"].removeprefix("sha256:")
    blobs = engine.instance.state("imaged") / "blobs" / "sha256"
    raw = (blobs / digest).read_bytes()
    (blobs / digest).write_bytes(raw.replace(b"LAYERED", b"layered"))
    found = engine.pier("system", "fsck")
    assert (found.returncode, [line.split()[:4] for line in found.stdout.splitlines()[1:]]) == (
        1, [["imaged", "BLOB_DAMAGED", "open", f"sha256:{digest}"]])
    kept = engine.pier("system", "fsck", "--repair")
    assert (kept.returncode, "no registry is known that has it" in kept.stdout) == (1, True), kept.stdout
    assert engine.metric("imaged", "pier_quarantined_blobs") == 1
    assert "busybox" in engine.ok("images")
    assert "is lost" in engine.docker("inspect", "--type", "image", "hurt:1").stderr
    assert engine.docker("load", input=archive, text=False).returncode == 0
    assert engine.metric("imaged", "pier_quarantined_blobs") == 0
    assert engine.pier("system", "fsck").stdout == "nothing found\n"
