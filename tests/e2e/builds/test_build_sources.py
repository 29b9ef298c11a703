"""Where a build takes things from: registries, URLs, contexts that are not sent along; and docker-py as a client."""

import base64
import functools
import hashlib
import http.server
import io
import json
import os
import tarfile
import threading

import docker
import pytest

from tests import images


@pytest.fixture
def served(tmp_path):
    """(URL of a web server on loopback, the directory that it serves, the paths that were asked for)."""
    directory, asked = tmp_path / "served", []
    directory.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", directory, asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_base_that_is_not_here_is_pulled_and_again_where_the_client_asks_for_it(builder, registry):
    registry.push("base", "1", images.pack(images.layered()))
    name = f"{registry.host}/base:1"
    builder.ok("-t", "a", dockerfile=f"FROM {name}\nRUN cat /data/changed > /said\n")
    assert builder.run("a", "cat", "/said") == "third"
    other = images.Image(images.layered().layers, config={"Cmd": ["sh"], "Env": ["NEWER=yes"]})
    registry.push("base", "1", images.pack(other))
    builder.ok("-t", "a")
    assert "NEWER=yes" not in builder.inspect("a")["Config"]["Env"]
    builder.ok("-t", "a", "--pull")
    assert "NEWER=yes" in builder.inspect("a")["Config"]["Env"]


def test_an_image_offers_its_layers_to_the_same_steps(builder, registry):
    name = f"{registry.host}/cache:1"
    text = "FROM busybox\nENV V=1\nRUN cat /proc/sys/kernel/random/uuid > /u\nCOPY file /\nWORKDIR /w\nRUN true\n"
    builder.write("file", "1")
    builder.ok("-t", name, dockerfile=text)
    made = builder.run(name, "cat", "/u")
    builder.engine.ok("push", name)
    builder.engine.ok("rmi", name)
    builder.engine.ok("builder", "prune", "-af")
    said = builder.ok("-t", "a", "--cache-from", name)
    assert "Running in" not in said
    assert builder.run("a", "cat", "/u") == made
    assert "Using cache" in builder.ok("-t", "a")
    builder.engine.ok("builder", "prune", "-af")
    builder.write("Dockerfile", text.replace("V=1", "V=2"))
    said = builder.ok("-t", "b", "--cache-from", name)
    assert said.count("Running in") == 2
    assert builder.run("b", "cat", "/u") != made
    builder.ok("-t", "c", "--cache-from", f"{registry.host}/none:1")


def test_a_base_that_nobody_has_is_told(builder, registry):
    done = builder.docker(dockerfile=f"FROM {registry.host}/none:1\n")
    assert done.returncode != 0
    assert "none" in done.stderr


def test_add_fetches_a_url_and_checks_what_comes(builder, served):
    url, directory, asked = served
    (directory / "file").write_text("fetched")
    digest = "sha256:" + hashlib.sha256(b"fetched").hexdigest()
    builder.ok("-t", "a", dockerfile=f"FROM busybox\nADD {url}/file /d/\nADD {url}/file /named\n")
    assert builder.run("a", "cat", "/d/file", "/named") == "fetchedfetched"
    assert builder.run("a", "stat", "-c", "%a %u", "/named") == "600 0"
    assert builder.ok("-t", "a").count("Using cache") == 2
    text = f"FROM busybox\nADD --checksum={digest} {url}/file /c\n"
    builder.ok("-t", "b", dockerfile=text)
    asked.clear()
    assert "Using cache" in builder.ok("-t", "b")
    assert asked == []
    (directory / "file").write_text("changed")
    assert "Using cache" not in builder.ok("-t", "a", dockerfile=f"FROM busybox\nADD {url}/file /d/\n")
    done = builder.docker("--no-cache", dockerfile=text)
    assert done.returncode != 0
    assert "digest mismatch" in done.stderr


def test_add_unpacks_local_archives_and_leaves_fetched_ones(builder, served):
    url, directory, _ = served
    with tarfile.open(directory / "a.tar.gz", "w:gz") as archive:
        archive.add(builder.write("inner", "in"), "inner")
    builder.write("a.tar.gz", (directory / "a.tar.gz").read_bytes())
    builder.ok("-t", "a", dockerfile=f"FROM busybox\nADD a.tar.gz /local/\nADD {url}/a.tar.gz /remote/\n")
    assert builder.run("a", "sh", "-c", "cat /local/inner; ls /remote") == "ina.tar.gz"


def test_contexts_that_the_engine_fetches_itself(builder, served):
    url, directory, _ = served
    (directory / "Dockerfile").write_text("FROM busybox\nENV FROM_URL=yes\n")
    builder.engine.ok("build", "-t", "a", f"{url}/Dockerfile")
    assert "FROM_URL=yes" in builder.inspect("a")["Config"]["Env"]
    with tarfile.open(directory / "context.tar.xz", "w:xz") as archive:
        archive.add(builder.write("Dockerfile", "FROM busybox\nCOPY file /\n"), "Dockerfile")
        archive.add(builder.write("file", "of the tar"), "file")
    builder.engine.ok("build", "-t", "b", f"{url}/context.tar.xz")
    assert builder.run("b", "cat", "/file") == "of the tar"
    done = builder.engine.docker("build", f"{url}/none")
    assert done.returncode != 0


@pytest.mark.parametrize("client", ["docker", "pier"])
@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz"])
def test_a_large_context_comes_in_any_compression(builder, client, kind):
    large = os.urandom(1 << 20)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=f"w:{kind}") as archive:  # type: ignore[call-overload]  # any of its kinds
        for name, data in (("large", large), ("Dockerfile", b"FROM busybox\nCOPY large /\nRUN sha256sum /large >/s\n")):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    done = builder.engine.run([*builder.engine.argv(client), "build", "-t", "a", "-"], input=packed.getvalue(),
                              text=False)
    assert done.returncode == 0, done.stderr
    assert builder.run("a", "cat", "/s").startswith(hashlib.sha256(large).hexdigest())


@pytest.fixture
def client(builder):
    made = docker.DockerClient(base_url=builder.engine.host, version="auto")
    yield made
    made.close()


def test_docker_py_builds(client, builder):
    image, said = client.images.build(
        fileobj=io.BytesIO(b"FROM busybox\nARG WORD\nRUN echo $WORD; echo err >&2\nCMD [\"true\"]\n"), tag="py:1",
        buildargs={"WORD": "spoken"}, labels={"by": "docker-py"}, rm=True)
    lines = list(said)
    assert image.tags == ["py:1"]
    assert image.labels == {"by": "docker-py"}
    assert any(line.get("stream") == "spoken\n" for line in lines)
    assert any(line.get("stream") == "\x1b[91merr\n\x1b[0m" for line in lines)
    assert any(line.get("aux", {}).get("ID") == image.id for line in lines)
    *_, last = client.api.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 5\n"), decode=True)
    assert last["errorDetail"] == {"code": 5, "message": last["error"]}
    assert last["error"] == "The command '/bin/sh -c exit 5' returned a non-zero code: 5"


def test_docker_py_builds_a_directory_with_a_dockerfile_from_outside(client, builder, tmp_path):
    builder.write("file", "1")
    (tmp_path / "other").write_text("FROM busybox\nCOPY . /c\nRUN ls -A /c > /list\n")
    client.images.build(path=str(builder.directory), dockerfile=str(tmp_path / "other"), tag="py:2")
    assert builder.run("py:2", "cat", "/list") == "file"


def test_what_the_endpoint_does_not_have_is_refused_by_name(builder):
    import http.client
    import socket

    def post(path, **headers):
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(builder.engine.instance.api_socket))
        connection.request("POST", path, b"", headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, json.loads(body)["message"]

    for query, word in (("version=2", "version=2"), ("squash=1", "squash"), ("outputs=[{}]", "outputs")):
        status, message = post(f"/v1.45/build?{query}")
        assert status == 501
        assert word in message
    assert post("/v1.45/build?buildargs=[")[0] == 400
    assert post("/v1.45/build?t=a@sha256:" + "0" * 64)[0] == 400
    assert post("/v1.45/build?memory=x")[0] == 400
    assert post("/v1.45/session")[0] == 501
    headers = {"X-Registry-Config": base64.urlsafe_b64encode(b"nonsense").decode()}
    assert post("/v1.45/build", **headers) == (500, "Cannot locate specified Dockerfile: Dockerfile")


def test_a_name_that_would_hide_another_in_a_layer_is_a_file_of_the_context_and_goes_into_no_image(builder):
    for name in ("d/kept", "d/.wh.kept", "d/.wh..wh..opq", "d/.wh.dir/in", "d/.wh."):
        builder.write(name, "here")
    text = "FROM busybox\nRUN --mount=type=bind,source=d,target=/d find /d -type f | sort > /said\n"
    builder.ok("-t", "a", dockerfile=text)
    assert builder.run("a", "cat", "/said").split() == [
        "/d/.wh.", "/d/.wh..wh..opq", "/d/.wh.dir/in", "/d/.wh.kept", "/d/kept"]
    with tarfile.open(builder.directory / "a.tar", "w") as archive:
        archive.add(builder.directory / "d" / ".wh.kept", "etc/.wh.passwd")
    for line in ("COPY d /d", "COPY d/.wh.kept /d/", "COPY d/kept /.wh.x", "COPY --link d/kept /.wh.x/", "ADD a.tar /",
                 "WORKDIR /.wh.x"):
        done = builder.docker(dockerfile=f"FROM busybox\n{line}\n")
        assert done.returncode != 0, line
        assert ".wh." in done.stderr.splitlines()[-1], line
    builder.write(".dockerignore", "**/.wh.*\n")
    builder.ok("-t", "a", dockerfile="FROM busybox\nCOPY d /d\n")
    assert builder.run("a", "find", "/d", "-type", "f") == "/d/kept"


def test_a_base_for_another_machine_is_warned_of_with_its_line(builder, registry):
    other = images.Image(images.layered().layers, architecture="s390x")
    registry.push("other", "1", images.pack(other))
    name = f"{registry.host}/other:1"
    told = f'Base image {name} was pulled with platform "linux/s390x", expected "linux/amd64" for current build'
    text = f"FROM busybox AS a\nFROM {name}\nCOPY --from=a /etc/passwd /p\n"
    builder.write("Dockerfile", text)
    done = builder.engine.pier("build", "--platform", "linux/amd64", "-t", "x", str(builder.directory))
    assert (done.returncode, done.stderr.count(told)) == (0, 1), done.stderr
    for first, code in (("# check=skip=InvalidBaseImagePlatform", 0), ("# check=error=true", 1)):
        builder.write("Dockerfile", f"{first}\n{text}")
        done = builder.engine.pier("build", "--platform", "linux/amd64", "-t", "x", str(builder.directory))
        assert (done.returncode, told in done.stderr) == (code, bool(code)), done.stderr
    assert "lint violation found for rules: InvalidBaseImagePlatform" in done.stderr
