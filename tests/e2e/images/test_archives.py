"""Images from archives: load and import."""

import bz2
import functools
import gzip
import hashlib
import http.server
import io
import json
import lzma
import os
import tarfile
import threading

import pytest
import zstandard

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


@pytest.mark.parametrize("compressed", [bz2.compress, lzma.compress, gzip.compress, zstandard.compress])
def test_whatever_compresses_it_an_archive_is_read(engine, compressed):
    id_ = engine.docker("import", "-", "imp:1", input=compressed(rootfs(a=b"1")), text=False).stdout.decode().strip()
    assert engine.inspect(id_)["Size"] == 1
    done = engine.docker("load", input=compressed(archive("app:1")), text=False)
    assert done.stdout == b"Loaded image: app:1\n", done.stderr
    assert engine.ok("run", "--rm", "app:1", "cat", "/data/opaque/new") == "third"


@pytest.fixture
def web(tmp_path):
    """A server of files in ``tmp_path``; its URL. What is called "cut" ends before it should."""
    class Files(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/cut":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.wfile.write(bytes(1000))
            else:
                super().do_GET()

        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=tmp_path)) as server:
        server.daemon_threads = False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_import_fetches_a_url(engine, web, tmp_path):
    (tmp_path / "root.tar.gz").write_bytes(gzip.compress(rootfs(a=b"12")))
    told = engine.ok("import", "-c", 'CMD ["x"]', f"{web}/root.tar.gz", "imp:1").splitlines()
    assert told[0] == f"Downloading from {web}/root.tar.gz"
    found = engine.inspect("imp:1")
    assert (found["Id"], found["Size"], found["Config"]["Cmd"]) == (told[1], 2, ["x"])


def test_a_url_that_gives_nothing_or_half_of_it_is_told_and_makes_no_image(engine, web):
    before = engine.ok("images", "-aq")
    for path, words in (("nope", f"failed to GET {web}/nope with status 404"), ("cut", f"failed to GET {web}/cut: ")):
        done = engine.docker("import", f"{web}/{path}", "imp:1")
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    closed = engine.docker("import", "http://127.0.0.1:1/x", "imp:1")
    assert "failed to GET http://127.0.0.1:1/x: " in closed.stderr
    assert engine.ok("images", "-aq") == before


@pytest.mark.parametrize(
    "query,status,words",
    [
        ("fromSrc=ftp://127.0.0.1/x.tar", 400, "no URL that can be fetched"),
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
