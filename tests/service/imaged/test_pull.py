"""Pulls over gRPC: what registries hold, and what becomes of it."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import re
import signal
import socket
import struct

import pytest
import zstandard

from chassis.errors import (
    DataLoss,
    InvalidArgument,
    NotFound,
    Unavailable,
    Unimplemented,
)
from deploy.busybox_image import Image, dump, layer
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from tests import images
from tests.images import Entry, busybox, layered, pack, pack_index
from tests.registry import Registry
from tests.service.imaged.served import LAYERED, NAMESPACE, Served, shown
from tests.service.imaged.test_faulty_proxy import upstream
from tests.service.imaged.test_push import listening


@pytest.mark.parametrize("schema2", [False, True], ids=["oci", "schema2"])
async def test_an_image_is_pulled_from_a_registry(imaged: Served, registry: Registry, schema2: bool) -> None:
    digest = registry.push(f"pull/{schema2}".lower(), "v1", pack(layered(), schema2=schema2))
    name = f"{registry.host}/pull/{schema2}:v1".lower()
    messages = await imaged.pull(name)
    kinds = [message.WhichOneof("event") for message in messages]
    assert kinds[0] == "begin"
    assert kinds[-1] == "end"
    assert messages[0].begin.familiar == name
    assert len(messages[0].begin.layers) == 4
    phases = {message.layer.phase for message in messages if message.WhichOneof("event") == "layer"}
    assert pb.LAYER_PHASE_DONE in phases
    end = messages[-1].end
    assert end.digest == digest
    assert not end.up_to_date
    assert end.image.id == "sha256:" + hashlib.sha256(layered().configuration).hexdigest()
    assert list(end.image.familiar) == [name]
    assert list(end.image.digests) == [f"{name.removesuffix(':v1')}@{digest}"]
    assert end.image.config == layered().configuration
    assert [one.diff_id for one in end.image.layers] == [
        "sha256:" + hashlib.sha256(tar).hexdigest() for tar in layered().layers]
    assert shown(await imaged.prepare("a", name)) == LAYERED
    again = (await imaged.pull(name))[-1].end
    assert again.up_to_date
    assert await imaged.fsck() == []


async def test_the_manifest_for_this_platform_is_taken_from_an_index(imaged: Served, registry: Registry) -> None:
    other = Image(busybox().layers, {"Cmd": ["other"]}, architecture="s390x")
    digest = registry.push("index", "v1", pack_index([other, layered()]))
    image = await imaged.pulled(f"{registry.host}/index:v1")
    assert image.platform.architecture == layered().architecture
    assert image.digests == [f"{registry.host}/index@{digest}"]
    by_digest = await imaged.pulled(f"{registry.host}/index@{digest}")
    assert by_digest.id == image.id
    foreign = await imaged.pulled(
        f"{registry.host}/index:v1", platform=pb.Platform(os="linux", architecture="s390x"))
    assert foreign.platform.architecture == "s390x"
    with pytest.raises(NotFound, match="no matching manifest for linux/mips"):
        await imaged.pull(f"{registry.host}/index:v1", platform=pb.Platform(os="linux", architecture="mips"))


def zstd_chunked(tar: bytes) -> bytes:
    """Many frames, and at the end tables that decompressors pass over (containers/storage, "zstd:chunked")."""
    parts = [tar[start : start + 3000] for start in range(0, len(tar), 3000)]
    frames = b"".join(zstandard.ZstdCompressor().compress(part) for part in parts)
    table = b'{"version":1,"entries":[]}'
    return frames + b"".join(struct.pack("<II", 0x184D2A50, len(one)) + one for one in (table, bytes(64)))


async def test_attestations_of_an_index_are_passed_over_and_artifacts_are_told(
    imaged: Served, registry: Registry
) -> None:
    packed = pack(layered())
    empty = images.Blob("application/vnd.oci.empty.v1+json", b"{}")
    statement = images.Blob("application/vnd.in-toto+json", b'{"_type": "statement"}')
    attestation = images.Blob("application/vnd.oci.image.manifest.v1+json", dump({
        "schemaVersion": 2, "config": packed.blobs[0].descriptor, "layers": [statement.descriptor]}))
    index = images.Blob("application/vnd.oci.image.index.v1+json", dump({"schemaVersion": 2, "manifests": [
        {**attestation.descriptor, "platform": {"os": "unknown", "architecture": "unknown"},
         "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
        {**packed.top.descriptor, "platform": {"os": "linux", "architecture": layered().architecture}},
    ]}))
    registry.push("attested", "v1", images.Packed((*packed.blobs, statement), (packed.top, attestation), index))
    assert len((await imaged.pulled(f"{registry.host}/attested:v1")).layers) == 4
    artifact = images.Blob("application/vnd.oci.image.manifest.v1+json", dump({
        "schemaVersion": 2, "artifactType": "application/x", "config": empty.descriptor,
        "layers": [statement.descriptor]}))
    registry.push("artifact", "v1", images.Packed((empty, statement), (), artifact))
    with pytest.raises(Unimplemented, match="not an image's configuration") as refused:
        await imaged.pulled(f"{registry.host}/artifact:v1")
    assert refused.value.reason == "NOT_AN_IMAGE"


@pytest.mark.parametrize("name, pack_layer, suffix", [
    ("plain", bytes, ""), ("chunked", zstd_chunked, "+zstd"),
    ("zstd", zstandard.ZstdCompressor().compress, "+zstd"), ("gz", gzip.compress, "+gzip")])
async def test_layers_of_every_compression_are_pulled(
    imaged: Served, registry: Registry, name: str, pack_layer: object, suffix: str
) -> None:
    tar = layered().layers[0]
    blob = images.Blob(images.OCI_LAYER + suffix, pack_layer(tar))  # type: ignore[operator]
    config = images.Blob("application/vnd.oci.image.config.v1+json", Image([tar]).configuration)
    top = images.Blob("application/vnd.oci.image.manifest.v1+json", dump({
        "schemaVersion": 2, "config": config.descriptor, "layers": [blob.descriptor]}))
    registry.push(name, "v1", images.Packed((config, blob), (), top))
    image = await imaged.pulled(f"{registry.host}/{name}:v1")
    assert image.layers[0].diff_id == "sha256:" + hashlib.sha256(tar).hexdigest()
    assert image.layers[0].blob.media_type == images.OCI_LAYER + suffix


async def test_what_is_not_in_the_registry_is_said_in_dockers_words(imaged: Served, registry: Registry) -> None:
    registry.push("there", "v1", pack(busybox()))
    with pytest.raises(NotFound, match=f"manifest for {registry.host}/there:v2 not found: manifest unknown"):
        await imaged.pull(f"{registry.host}/there:v2")
    with pytest.raises(NotFound, match="not found: "):
        await imaged.pull(f"{registry.host}/nowhere:v1")
    with pytest.raises(InvalidArgument, match="must be lowercase"):
        await imaged.pull(f"{registry.host}/There:v1")
    assert await imaged.images() == []


async def test_a_registry_that_is_down_is_said_in_dockers_words(imaged: Served) -> None:
    with pytest.raises(Unavailable, match=r'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connec'):
        await imaged.pull("127.0.0.1:1/a:b")


async def test_35_a_blob_that_is_not_its_digest_is_refused_and_the_next_pull_works(
    imaged: Served, registry: Registry
) -> None:
    image = Image([layer([Entry("spoilt", data=os.urandom(100_000))])])
    packed = pack(image)
    registry.push("spoilt", "v1", packed)
    path = registry.blob_path(packed.blobs[1].descriptor["digest"])
    good = path.read_bytes()
    path.write_bytes(good[:50_000] + b"\0" + good[50_001:])
    with pytest.raises((DataLoss, InvalidArgument)):
        await imaged.pull(f"{registry.host}/spoilt:v1")
    assert await imaged.images() == []
    assert imaged.directories()["l"] == []
    path.write_bytes(good)
    assert (await imaged.pulled(f"{registry.host}/spoilt:v1")).size == 100_000
    assert await imaged.fsck() == []


async def test_a_layer_that_is_not_its_diff_id_is_refused(imaged: Served, registry: Registry) -> None:
    good, evil = layer([Entry("a", data=b"good")]), layer([Entry("a", data=b"evil")])
    config = images.Blob("application/vnd.oci.image.config.v1+json", Image([good]).configuration)
    blob = images.Blob(images.OCI_LAYER + "+gzip", gzip.compress(evil))
    top = images.Blob("application/vnd.oci.image.manifest.v1+json", dump({
        "schemaVersion": 2, "config": config.descriptor, "layers": [blob.descriptor]}))
    registry.push("lying", "v1", images.Packed((config, blob), (), top))
    with pytest.raises(DataLoss, match="unpacks to"):
        await imaged.pull(f"{registry.host}/lying:v1")
    assert imaged.directories()["l"] == []
    assert await imaged.fsck() == []


async def test_an_image_pulled_many_times_at_once_is_fetched_once(imaged: Served, registry: Registry) -> None:
    image = Image([layer([Entry(f"f{index}", data=os.urandom(300_000))]) for index in range(4)])
    packed = pack(image)
    registry.push("together", "v1", packed)
    before = len(registry.requests())
    pulled = await asyncio.gather(*(imaged.pulled(f"{registry.host}/together:v1") for _ in range(6)))
    assert len({one.id for one in pulled}) == 1
    asked = registry.requests()[before:]
    for blob in packed.blobs[1:]:
        path = f"GET /v2/together/blobs/{blob.descriptor['digest']}"
        assert asked.count(path) == 1


async def test_a_cancelled_pull_leaves_a_part_that_the_next_goes_on_with(imaged: Served, registry: Registry) -> None:
    image = Image([layer([Entry("big", data=os.urandom(64 << 20))])])
    registry.push("resumed", "v1", pack(image, compressed=False))
    stub = rpc.ImageServiceStub(imaged.peer.channel)
    request = pb.PullRequest(namespace=NAMESPACE, reference=f"{registry.host}/resumed:v1")
    stream = imaged.peer.stream(stub.Pull, request, 60)
    async for message in stream:
        if message.layer.phase == pb.LAYER_PHASE_DOWNLOADING and message.layer.current:
            break
    await stream.aclose()
    async with asyncio.timeout(60):
        while any(name.startswith("tmp-") for name in imaged.directories()["l"]):
            await asyncio.sleep(0.01)  # the service undoes it by itself; nothing tells us
    assert len(imaged.directories()["ingest"]) == 1
    assert imaged.directories()["l"] == []
    assert (await imaged.pulled(f"{registry.host}/resumed:v1")).size == 64 << 20
    assert imaged.directories()["ingest"] == []
    assert await imaged.fsck() == []


async def test_a_pull_that_a_kill_broke_off_goes_on_where_it_was(fresh: Served, registry: Registry) -> None:
    image = Image([layer([Entry("big", data=os.urandom(4 << 20))])])
    packed = pack(image, compressed=False)
    registry.push("killed", "v1", packed)
    big = packed.blobs[-1].descriptor["digest"].encode()
    begins: list[int] = []

    def pass_on(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := client.recv(65536)):
                return
            head += data
        answer = upstream(head, registry)
        if big in head:
            wanted = re.search(rb"\r\nRange: bytes=(\d+)-", head)
            begins.append(int(wanted[1]) if wanted else 0)
            if len(begins) == 1:
                client.sendall(answer[: 3 << 20])
                client.recv(1)  # until imaged is gone
                return
        client.sendall(answer)

    with listening(pass_on) as port:
        stub, name = rpc.ImageServiceStub(fresh.peer.channel), f"127.0.0.1:{port}/killed:v1"
        stream = fresh.peer.stream(stub.Pull, pb.PullRequest(namespace=NAMESPACE, reference=name), 60)
        await anext(stream)
        async with asyncio.timeout(60):
            while sum(one.stat().st_size for one in (fresh.state / "ingest").iterdir()) < 1 << 20:
                await asyncio.sleep(0.01)  # a file that grows tells nobody
        await fresh.stop(signal.SIGKILL)
        await stream.aclose()
        await fresh.start()
        assert (await fresh.pulled(name)).size == 4 << 20
    assert begins[0] == 0
    assert begins[1] >= 1 << 20
    assert await fresh.fsck() == []
