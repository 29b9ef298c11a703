"""An engine of this directory's own: what is loaded and removed here is in no other test's way."""

import http.client
import json
import socket

import pytest

from tests.engine import running


@pytest.fixture(scope="package")
def engine(tmp_path_factory):
    with running("e2ei", tmp_path_factory.mktemp("engine")) as engine:
        engine.load_busybox()
        engine.docker("pull", "127.0.0.1:1/none")
        yield engine


class Api:
    """The Engine API by hand: status and body, where the command hides them."""

    def __init__(self, path):
        self._path = str(path)

    def open(self):
        """A connection; close it."""
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(self._path)
        return connection

    def __call__(self, method, path, body=None, **headers):
        """(status, body): decoded where it is one JSON value, a list where it is a stream of them."""
        connection = self.open()
        try:
            if isinstance(body, dict):
                body, headers = json.dumps(body), {"Content-Type": "application/json"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if b"\r\n" in text:
            return answer.status, [json.loads(line) for line in text.split(b"\r\n") if line]
        return answer.status, json.loads(text) if text.startswith((b"{", b"[")) else text


@pytest.fixture
def api(engine):
    return Api(engine.instance.api_socket)


@pytest.fixture(autouse=True)
def no_images_left(engine):
    """Every image but busybox goes when the test is over."""
    yield
    engine.remove_everything()
    kept = engine.ok("images", "-q", "--no-trunc", "busybox")
    for id_ in set(engine.ok("images", "-aq", "--no-trunc").split()) - {kept}:
        engine.ok("rmi", "-f", id_)
    for name in engine.ok("images", "--format", "{{.Repository}}:{{.Tag}}").split():
        if name not in ("busybox:latest", "<none>:<none>"):
            engine.ok("rmi", "-f", name)
