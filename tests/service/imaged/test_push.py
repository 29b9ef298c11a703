"""Push, against Debian's registry and one that lies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chassis.errors import NotFound, PierError, Unavailable, Unimplemented
from deploy.busybox_image import docker_archive
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from tests.images import layered, pack
from tests.registry import Registry
from tests.service.imaged.served import LAYERED, NAMESPACE, Served, serving, shown


@pytest.fixture
async def imaged(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as served:
        yield served


async def push(imaged: Served, reference: str, **fields: object) -> list[pb.PushResponse]:
    stub = rpc.ImageServiceStub(imaged.peer.channel)
    request = pb.PushRequest(namespace=NAMESPACE, reference=reference, **fields)  # type: ignore[arg-type]
    return [one async for one in imaged.peer.stream(stub.Push, request, 30)]


async def tag(imaged: Served, image: str, reference: str) -> None:
    request = pb.TagImageRequest(namespace=NAMESPACE, image=image, reference=reference)
    await imaged.call(rpc.ImageServiceStub, "TagImage", request)


@pytest.mark.parametrize("schema2", [False, True], ids=["oci", "schema2"])
async def test_what_was_pulled_is_pushed_with_the_same_digest(
    imaged: Served, registry: Registry, schema2: bool
) -> None:
    repository = f"from{schema2:d}".lower()
    pushed = registry.push(repository, "v1", pack(layered(), schema2=schema2))
    await imaged.pulled(f"{registry.host}/{repository}:v1")
    target = f"{registry.host}/to{schema2:d}/below:v2"
    await tag(imaged, f"{registry.host}/{repository}:v1", target)
    *progress, last = await push(imaged, target)
    assert last.manifest.digest == pushed
    assert {each.layer.phase for each in progress} >= {pb.LAYER_PHASE_WAITING, pb.LAYER_PHASE_DONE}
    assert {each.layer.phase for each in (await push(imaged, target))[:-1]} == {
        pb.LAYER_PHASE_WAITING, pb.LAYER_PHASE_EXISTS}
    await imaged.remove(target)
    await imaged.remove(f"{registry.host}/{repository}:v1")
    await imaged.collect()
    assert (await imaged.pulled(target)).id
    assert shown(await imaged.prepare("a", target)) == LAYERED


async def test_what_was_loaded_is_pushed_and_pulled_again(imaged: Served, registry: Registry) -> None:
    target = f"{registry.host}/loaded:1"
    await imaged.load(docker_archive({target: layered()}))
    await push(imaged, target)
    await imaged.remove(target)
    await imaged.collect()
    await imaged.pulled(target)
    assert shown(await imaged.prepare("a", target)) == LAYERED


async def test_what_cannot_be_pushed_is_told(imaged: Served, registry: Registry) -> None:
    with pytest.raises(NotFound, match="does not exist locally with the tag"):
        await push(imaged, f"{registry.host}/nothing:1")
    await imaged.load(docker_archive({"127.0.0.1:1/down:1": layered(), "here:1": layered()}))
    with pytest.raises(Unavailable, match="connection refused"):
        await push(imaged, "127.0.0.1:1/down:1")
    with pytest.raises(Unimplemented, match="credentials"):
        await push(imaged, "127.0.0.1:1/down:1", auth=pb.RegistryAuth(username="x", password="y"))


@pytest.mark.parametrize("breaks", range(1, 9))
async def test_a_registry_that_breaks_at_any_request_is_tried_again(
    imaged: Served, registry: Registry, breaks: int
) -> None:
    """A proxy that answers 503 to one request in turn."""
    seen = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", registry.port)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if seen == breaks:
                writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            upstream.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            await asyncio.gather(copy(reader, upstream), copy(upstream_reader, writer, last=True))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            upstream.close()
            writer.close()

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, last: bool = False) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        if last:
            sink.close()

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    target = f"127.0.0.1:{port}/breaks{breaks}:1"
    await imaged.load(docker_archive({target: layered()}))
    try:
        *_, last = await push(imaged, target)
        assert last.manifest.digest
        assert seen > breaks
    finally:
        proxy.close()
    named = f"{registry.host}/breaks{breaks}:1"
    await imaged.pulled(named)
    assert shown(await imaged.prepare("a", named)) == LAYERED


async def test_a_push_that_is_cancelled_leaves_nothing_running(imaged: Served) -> None:
    """The registry takes the connection and never answers."""
    taken = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}/held:1"
    await imaged.load(docker_archive({target: layered()}))
    task = asyncio.create_task(push(imaged, target))
    await asyncio.wait_for(taken.wait(), 20)
    task.cancel()
    with pytest.raises((asyncio.CancelledError, PierError)):
        await task
    server.close()
    assert await imaged.fsck() == []
