"""Images from archives: load and import."""

import hashlib
import io
import json
import os
import tarfile

import pytest

from deploy.busybox_image import docker_archive
from tests import images
from tests.engine import wait_until

LAYERED = images.layered()


def archive(*names, image=LAYERED):
    return docker_archive(dict.fromkeys(names, image))


def rootfs(**files):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


def test_a_load_names_what_the_archive_names(engine, client):
    engine.ok("tag", "busybox", "mine:1")
    done = client.run("load", input=archive("app:1", "127.0.0.1:5000/app:2"), text=False)
    assert done.returncode == 0
    assert sorted(done.stdout.decode().splitlines()) == [
        "Loaded image: 127.0.0.1:5000/app:2", "Loaded image: app:1",
    ]
    assert engine.inspect("app:1")["Id"] == engine.inspect("127.0.0.1:5000/app:2")["Id"]


def test_a_load_does_not_name_what_was_there_before(engine):
    engine.docker("load", input=archive("app:1"), text=False)
    done = engine.docker("load", input=archive("app:2"), text=False)
    assert done.stdout == b"Loaded image: app:2\n"


def test_a_loaded_image_runs(engine, client):
    client.run("load", input=archive("app:1"), text=False)
    assert client.ok("run", "--rm", "app:1", "cat", "/data/opaque/new") == "third"


def test_garbage_is_told_in_the_stream_as_docker_does(engine, api):
    status, body = api("POST", "/v1.45/images/load?quiet=1", b"garbage" * 1000)
    assert status == 200
    assert body[-1]["error"] == body[-1]["errorDetail"]["message"]


def test_a_long_load_that_fails_early_is_read_or_closed_and_told(engine):
    done = engine.docker("load", input=os.urandom(32 << 20), text=False)
    assert done.returncode == 1
    assert b"archive" in done.stderr or b"EPIPE" not in done.stderr
    assert b"broken pipe" not in done.stderr
    assert engine.ok("images", "-q", "busybox")


def test_an_import_makes_an_image_of_one_layer(engine, client):
    id_ = client.ok("import", "-m", "made by hand", "-", "imp:1", input=rootfs(hello=b"world"), text=False)
    id_ = id_.decode().strip()
    found = engine.inspect("imp:1")
    assert found["Id"] == id_
    assert found["Comment"] == "made by hand"
    assert len(found["RootFS"]["Layers"]) == 1
    assert "made by hand" in engine.ok("history", "imp:1")


def test_an_import_without_a_name_is_an_image_without_one(engine):
    id_ = engine.docker("import", "-", input=rootfs(a=b"1"), text=False).stdout.decode().strip()
    assert engine.inspect(id_)["RepoTags"] == []
    assert "<none>" in engine.ok("images", "-f", "dangling=true")


@pytest.mark.parametrize(
    "query,status,words",
    [
        ("fromSrc=http://127.0.0.1:1/x.tar", 501, "URL"),
        ("fromSrc=-&repo=BAD", 400, "must be lowercase"),
        ("fromSrc=-&repo=imp&tag=1&changes=RUN%20true", 400, "RUN is not a valid change command"),
        ("fromSrc=-&repo=imp@sha256:" + "a" * 64, 400, "digest reference"),
    ],
)
def test_an_import_that_cannot_be_is_refused(engine, api, query, status, words):
    before = engine.ok("images", "-aq")
    got, body = api("POST", f"/v1.45/images/create?{query}", rootfs(a=b"1"))
    assert (got, words in body["message"]) == (status, True), body
    assert engine.ok("images", "-aq") == before


@pytest.mark.parametrize("path", ["/images/load", "/images/create?fromSrc=-&repo=cut&tag=1"])
def test_a_client_that_breaks_off_leaves_no_image(engine, api, path):
    data = archive("cut:1") if "load" in path else rootfs(a=os.urandom(1 << 20))
    before = engine.ok("images", "-aq")
    connection = api.open()
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", str(len(data)))
    connection.endheaders()
    connection.send(data[: len(data) // 2])
    connection.close()
    sample = f'pier_rpc_in_flight{{method="pier.image.v1.ImageService/{"Load" if "load" in path else "Import"}"}}'
    wait_until(lambda: engine.metric("imaged", sample) == 0, what="the call's end")
    assert engine.ok("images", "-aq") == before


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.name: member.read() if (member := tar.extractfile(entry)) else b"" for entry in tar}


def saved(client, *names):
    done = client.run("save", *names, text=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_saved_comes_back_as_it_was(engine, client):
    client.run("load", input=archive("app:1"), text=False)
    before = engine.inspect("app:1")
    data = saved(client, "app:1")
    assert saved(client, "app:1") == data, "the same image gives the same bytes"
    engine.ok("rmi", "app:1")
    assert client.run("load", input=data, text=False).stdout == b"Loaded image: app:1\n"
    after = engine.inspect("app:1")
    assert (after["Id"], after["RootFS"]) == (before["Id"], before["RootFS"])
    assert client.ok("run", "--rm", "app:1", "cat", "/data/opaque/new") == "third"
    assert saved(client, "app:1") == data


def test_an_archive_is_a_layout_and_a_docker_archive(engine, client):
    client.run("load", input=archive("app:1"), text=False)
    engine.ok("tag", "app:1", "127.0.0.1:5000/other/app:2")
    files = members(saved(client, "app:1", "127.0.0.1:5000/other/app:2", "busybox"))
    for name, content in files.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(content).hexdigest() == name.rpartition("/")[2]
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    manifests = json.loads(files["index.json"])["manifests"]
    named = {each["annotations"]["io.containerd.image.name"]: each for each in manifests}
    assert set(named) == {"docker.io/library/app:1", "127.0.0.1:5000/other/app:2", "docker.io/library/busybox:latest"}
    for each in named.values():
        document = json.loads(files["blobs/" + each["digest"].replace(":", "/")])
        for blob in (document["config"], *document["layers"]):
            assert len(files["blobs/" + blob["digest"].replace(":", "/")]) == blob["size"]
    tags = {tuple(each["RepoTags"]): each for each in json.loads(files["manifest.json"])}
    assert set(tags) == {("app:1", "127.0.0.1:5000/other/app:2"), ("busybox:latest",)}
    for each in tags.values():
        assert json.loads(files[each["Config"]])["rootfs"]["type"] == "layers"
        assert all(layer in files for layer in each["Layers"])


def test_a_repository_means_all_its_tags_and_an_id_none(engine, client):
    client.run("load", input=archive("app:1"), text=False)
    engine.ok("tag", "app:1", "app:2")
    engine.ok("tag", "app:1", "apple:1")
    (image,) = json.loads(members(saved(client, "app"))["manifest.json"])
    assert image["RepoTags"] == ["app:1", "app:2"]
    (image,) = json.loads(members(saved(client, engine.inspect("app:1")["Id"]))["manifest.json"])
    assert image["RepoTags"] is None


def test_what_is_not_here_cannot_be_saved(client, tmp_path):
    done = client.run("save", "-o", str(tmp_path / "out"), "busybox", "nope:1")
    assert done.returncode == 1
    assert "No such image: nope:1" in done.stderr or "reference does not exist" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_archive_whose_layout_is_broken_is_read_by_its_other_table(engine, client):
    client.run("load", input=archive("app:1"), text=False)
    files = members(saved(client, "app:1"))
    files["index.json"] = b'{"manifests":[{"mediaType":"x","digest":"sha256:%s","size":2}]}' % (b"0" * 64)
    broken = rootfs(**{name: content for name, content in files.items() if content})
    engine.ok("rmi", "app:1")
    assert client.run("load", input=broken, text=False).stdout == b"Loaded image: app:1\n"
