"""Debian's docker-registry on a loopback port, and an uploader that speaks plain HTTP to it (OCI distribution 1.1)."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import pytest

from deploy.busybox_image import Blob, digest
from tests import tools
from tests.images import Packed

_START_WITHIN: Final = 60.0  # seconds
USER: Final = "me"
PASSWORD: Final = "secret pass"
_PASSWORD_HASH: Final = "$2b$04$.9oICNA.cEAaXhMUVqjJf.DvqO2N27i3zJI7Idospe9a1gwbmeLcS"
_LISTENING: Final = re.compile(rb"listening on 127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class Registry:
    """A registry that listens on 127.0.0.1:``port`` and keeps its data below ``directory``."""

    port: int
    directory: Path
    log: Path

    @property
    def host(self) -> str:
        """As it stands in front of an image's name."""
        return f"127.0.0.1:{self.port}"

    def push(self, repository: str, tag: str, packed: Packed) -> str:
        """Upload an image, its top last, under ``repository:tag``; the top's digest."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            for blob in packed.blobs:
                _push_blob(connection, repository, blob)
            for manifest in packed.manifests:
                _push_manifest(connection, repository, digest(manifest.data), manifest)
            _push_manifest(connection, repository, tag, packed.top)
        finally:
            connection.close()
        return digest(packed.top.data)

    def blob_path(self, data_digest: str) -> Path:
        """The file in which the registry keeps a blob: a test may spoil it."""
        hexadecimal = data_digest.removeprefix("sha256:")
        return self.directory / "docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"

    def requests(self) -> list[str]:
        """``METHOD path`` of every request that was answered so far, in order, without queries."""
        found = re.findall(r'"([A-Z]+) ([^\s?]+)\S* HTTP/1\.1" \d+', self.log.read_text(errors="replace"))
        return [f"{method} {path}" for method, path in found]


def _request(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b"", media_type: str = ""
) -> http.client.HTTPResponse:
    connection.request(method, path, body, {"Content-Type": media_type} if media_type else {})
    response = connection.getresponse()
    text = response.read()
    if response.status not in (200, 201, 202):
        raise RuntimeError(f"registry: {method} {path}: {response.status} {text.decode(errors='replace')}")
    return response


def _push_blob(connection: http.client.HTTPConnection, repository: str, blob: Blob) -> None:
    started = _request(connection, "POST", f"/v2/{repository}/blobs/uploads/")
    where = urlsplit(started.headers["Location"])
    path = f"{where.path}?{where.query}&digest={quote(digest(blob.data))}"
    _request(connection, "PUT", path, blob.data, "application/octet-stream")


def _push_manifest(connection: http.client.HTTPConnection, repository: str, reference: str, manifest: Blob) -> None:
    _request(connection, "PUT", f"/v2/{repository}/manifests/{reference}", manifest.data, manifest.media_type)


@contextmanager
def running(directory: Path, *, locked: bool = False) -> Iterator[Registry]:
    """A registry for as long as the block lasts; ``directory`` takes its data, configuration and log. A ``locked`` one
    lets USER with PASSWORD in, and nobody else."""
    data, log, config = directory / "data", directory / "registry.log", directory / "registry.yml"
    data.mkdir()
    # JSON is YAML. With port 0 the registry says in its log which one it got.
    users = directory / "users"
    users.write_text(f"{USER}:{_PASSWORD_HASH}\n")
    auth = {"auth": {"htpasswd": {"realm": "a test", "path": str(users)}}} if locked else {}
    config.write_text(json.dumps({
        **auth,
        "version": 0.1,
        "log": {"accesslog": {"disabled": False}, "level": "info", "formatter": "text"},
        "storage": {"filesystem": {"rootdirectory": str(data)}, "delete": {"enabled": True}},
        "http": {"addr": "127.0.0.1:0", "secret": "known to this test only"},
    }))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [tools.program("docker-registry"), "serve", str(config)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )
    try:
        yield Registry(_port(process, log), data, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry of this module's own, empty at first."""
    with running(tmp_path_factory.mktemp("registry")) as started:
        yield started


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + _START_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        found = _LISTENING.search(log.read_bytes())
        if found:
            return int(found[1])
        time.sleep(0.01)  # a file that grows tells nobody
    raise RuntimeError(f"docker-registry did not start: {log.read_text(errors='replace')}")
