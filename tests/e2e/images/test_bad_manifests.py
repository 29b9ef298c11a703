"""A registry that lies: whatever it calls a manifest, a config or a layer, imaged says so and goes on."""

import copy
import hashlib
import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests import images

ODD: list[Any] = [
    None, -1, 2**63, 2**70, 1.5, "", "x" * 70000, "sha256:../../etc", "sha256:" + "z" * 64, [], {}, [[[]]], True, "\0",
]


class Registry(ThreadingHTTPServer):
    """Serves one image whose manifest and config are what ``documents`` says at the moment."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        packed = images.pack(images.busybox())
        self.blobs = {f"sha256:{hashlib.sha256(blob.data).hexdigest()}": blob.data for blob in packed.blobs}
        self.good = json.loads(packed.top.data)
        self.config = json.loads(self.blobs[self.good["config"]["digest"]])
        self.manifest = packed.top.data
        self.host = f"127.0.0.1:{self.server_port}"

    def with_config(self, data):
        """A manifest that is right but for the config that it names, which is ``data``."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        made = copy.deepcopy(self.good)
        made["config"] |= {"digest": digest, "size": len(data)}
        return json.dumps(made).encode()


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    server: "Registry"

    def do_GET(self):
        *_, kind, name = self.path.split("/")
        data = self.server.manifest if kind == "manifests" else self.server.blobs.get(name)
        if self.path == "/v2/":
            data = b"{}"
        self.send_response(404 if data is None else 200)
        media = "application/vnd.oci.image.manifest.v1+json" if kind == "manifests" else "application/octet-stream"
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def registry():
    server = Registry()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(document, path, value):
    whole: Any = {"": copy.deepcopy(document)}
    at, keys = whole, ("", *path)
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    return whole[""]


def test_68_no_manifest_or_config_ends_imaged_and_the_next_pull_works(engine, api, registry):
    pid = engine.pid("imaged")
    choose = random.Random(68)

    def some(document):
        return [json.dumps(changed(document, choose.choice([*places(document)]), choose.choice(ODD))).encode()
                for _ in range(40)]

    manifests = [*some(registry.good), *(registry.with_config(config) for config in some(registry.config))]
    manifests += [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"schemaVersion":1}', b"x" * 100_000]
    for manifest in manifests:
        registry.manifest = manifest
        status, body = api("POST", f"/v1.45/images/create?fromImage={registry.host}/app&tag=1")
        if status == 200 and "error" not in str(body):
            api("DELETE", f"/v1.45/images/{registry.host}/app:1?force=1")  # what was changed means nothing to anybody
        assert status in (200, 400, 404, 500, 501), body
        assert "Error:" not in str(body), "an exception that nobody foresaw"
    assert engine.pid("imaged") == pid
    registry.manifest = json.dumps(registry.good).encode()
    status, body = api("POST", f"/v1.45/images/create?fromImage={registry.host}/app&tag=1")
    assert (status, "error" in str(body)) == (200, False), body
