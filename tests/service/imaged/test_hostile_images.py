"""Archives, manifests and imports that mean harm: refused by name, at bounded cost, with nothing left behind."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
from pathlib import Path

import pytest

from chassis.errors import (
    InvalidArgument,
    Unimplemented,
)
from deploy.busybox_image import Image, docker_archive, layer
from tests.images import Entry, busybox
from tests.service.imaged.served import Served

HOSTILE_ARCHIVES = {
    "not a tar": b"hello" * 1000,
    "empty": b"",
    "no tables": layer([Entry("a", data=b"b")]),
    "a config that climbs": layer([
        Entry("manifest.json", data=json.dumps([{"Config": "../../../etc/passwd", "Layers": []}]).encode())]),
    "a config that is not there": layer([
        Entry("manifest.json", data=json.dumps([{"Config": "x.json", "Layers": []}]).encode())]),
    "a name that climbs": layer([Entry("../manifest.json", data=b"[]")]),
    "a link that climbs": layer([
        Entry("c.json", type=b"2", target="../../../../etc/passwd"),
        Entry("manifest.json", data=json.dumps([{"Config": "c.json", "Layers": []}]).encode())]),
    "a loop of links": layer([
        Entry("c.json", type=b"2", target="d.json"), Entry("d.json", type=b"2", target="c.json"),
        Entry("manifest.json", data=json.dumps([{"Config": "c.json", "Layers": []}]).encode())]),
    "tables that are no JSON": layer([Entry("manifest.json", data=b"[" * 100_000)]),
    "a table larger than any": layer([Entry("manifest.json", data=b" " * (5 << 20))]),
    "a bad tag": layer([
        Entry("c.json", data=Image([]).configuration),
        Entry("manifest.json", data=json.dumps(
            [{"Config": "c.json", "Layers": [], "RepoTags": ["../../x:1"]}]).encode())]),
    "a layer with a name that climbs": docker_archive({"x:1": Image([layer([Entry("../../evil", data=b"x")])])}),
    "an index that names a path": layer([Entry("index.json", data=json.dumps({
        "schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
                                           "digest": "sha256:../../x", "size": 1}]}).encode())]),
}


@pytest.fixture
def imaged(snapshots: Served) -> Served:
    return snapshots



@pytest.mark.parametrize("raw", HOSTILE_ARCHIVES.values(), ids=HOSTILE_ARCHIVES.keys())
async def test_21_36_a_hostile_archive_is_refused_and_leaves_nothing(imaged: Served, raw: bytes) -> None:
    with pytest.raises(InvalidArgument):
        await imaged.load(raw)
    assert imaged.directories() == {"l": [], "s": [], "trash": [], "ingest": [], "blobs/sha256": []}
    assert await imaged.fsck() == []
    assert await imaged.load(docker_archive({"good:1": busybox()}))


async def test_21_a_hostile_import_is_refused_and_leaves_nothing(imaged: Served) -> None:
    for raw in (layer([Entry("../evil", data=b"x")]), b"no tar at all" * 100, gzip.compress(b"x" * 5000)[:-9]):
        with pytest.raises(InvalidArgument):
            await imaged.import_(raw, reference="evil:1")
    assert imaged.directories() == {"l": [], "s": [], "trash": [], "ingest": [], "blobs/sha256": []}


@pytest.mark.parametrize("fields, error", [
    ({"manifests": []}, InvalidArgument), ({"mediaType": "application/vnd.oci.image.index.v1+json"}, InvalidArgument),
    ({"schemaVersion": 1}, Unimplemented),
], ids=["both shapes", "wrong media type", "schema 1"])
async def test_33_an_ambiguous_manifest_from_a_registry_is_refused(
    imaged: Served, fields: dict[str, object], error: type[Exception]
) -> None:
    document = json.dumps({
        "schemaVersion": 2, "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                                       "digest": "sha256:" + "0" * 64, "size": 2}, "layers": []} | fields).encode()
    async with _answering(document, "application/vnd.oci.image.manifest.v1+json") as host:
        with pytest.raises(error):
            await imaged.pull(f"{host}/a:1")


async def test_34_a_manifest_of_a_gibibyte_is_not_read(imaged: Served) -> None:
    before = _rss(imaged.pid)
    async with _answering(b"", "application/vnd.oci.image.manifest.v1+json", endless=True) as host:
        with pytest.raises(InvalidArgument, match="more than 4194304 bytes"):
            await imaged.pull(f"{host}/a:1")
    assert _rss(imaged.pid) - before < 64 << 20


async def test_34_a_sparse_entry_of_ten_gibibytes_is_imported_as_a_hole(imaged: Served, tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(10 << 30)
    raw = subprocess.run(  # noqa: ASYNC221 - a short helper
        ["tar", "-S", "--format=posix", "-c", "-C", str(tmp_path), "huge"], check=True, capture_output=True).stdout
    before = _rss(imaged.pid)
    image = await imaged.import_(raw, reference="huge:1")
    assert image.size == 10 << 30
    (name,) = imaged.directories()["l"]
    assert (imaged.state / "l" / name / "huge").stat().st_blocks < 1000
    assert _rss(imaged.pid) - before < 32 << 20
    (tmp_path / "huge").unlink()


def _rss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmRSS")


class _answering:  # noqa: N801 - reads as what it does
    """A registry that answers everything with one document, or without end."""

    def __init__(self, document: bytes, media_type: str, *, endless: bool = False) -> None:
        self._document, self._media_type, self._endless = document, media_type, endless
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        length = 1 << 30 if self._endless else len(self._document)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {self._media_type}\r\nContent-Length: {length}\r\n\r\n"
        writer.write(head.encode())
        writer.write(self._document)
        try:
            while self._endless:
                writer.write(bytes(1 << 20))
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()
