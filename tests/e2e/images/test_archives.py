"""Images from archives: load and import."""

import io
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
        ("fromSrc=-&repo=imp&tag=1&changes=CMD%20true", 501, "changes"),
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
