"""Push, against Debian's registry and one that lies."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chassis.errors import NotFound, PierError, Unavailable
from deploy.busybox_image import Image, docker_archive, layer
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from tests.images import Entry, layered, pack
from tests.registry import Registry
from tests.service.imaged.served import LAYERED, NAMESPACE, Served, serving, shown


@pytest.fixture
def imaged(snapshots: Served) -> Served:
    return snapshots


class Listener(socketserver.ThreadingTCPServer):
    """Answers each connection on a thread of its own; none outlives ``server_close``."""

    daemon_threads = False
    allow_reuse_address = True

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self.answer = answer
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(OSError):
            self.answer(request)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on loopback for as long as the block lasts; its port."""
    with Listener(answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.port
        finally:
            server.shutdown()
            thread.join()


def copy(source: socket.socket, sink: socket.socket) -> None:
    """Until the source's end, which is handed on."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


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
    assert {each.layer.phase for each in progress} == {pb.LAYER_PHASE_WAITING, pb.LAYER_PHASE_MOUNTED}
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


@pytest.mark.parametrize("breaks", range(1, 9))
async def test_a_registry_that_breaks_at_any_request_is_tried_again(
    imaged: Served, registry: Registry, breaks: int
) -> None:
    """A proxy that answers 503 to one request in turn."""
    asked: list[bytes] = []
    with listening(breaking(registry, asked, lambda number, _: number == breaks)) as port:
        target = f"127.0.0.1:{port}/breaks{breaks}:1"
        await imaged.load(docker_archive({target: layered()}))
        *_, last = await push(imaged, target)
        assert last.manifest.digest
        assert len(asked) > breaks
    named = f"{registry.host}/breaks{breaks}:1"
    await imaged.pulled(named)
    assert shown(await imaged.prepare("a", named)) == LAYERED


@pytest.mark.parametrize("breaks", [0, 2, 3, 5])
async def test_a_blob_that_goes_in_chunks_is_gone_on_with(tmp_path: Path, registry: Registry, breaks: int) -> None:
    big = Image([layer([Entry("big", data=random.Random(breaks).randbytes(300_000))])])
    asked: list[bytes] = []

    def breaks_at(_: int, head: bytes) -> bool:
        return head.startswith(b"PATCH") and sum(one.startswith(b"PATCH") for one in asked) == breaks

    async with serving(tmp_path, push_chunk_bytes=65536) as imaged:
        with listening(breaking(registry, asked, breaks_at)) as port:
            target = f"127.0.0.1:{port}/chunks{breaks}:1"
            await imaged.load(docker_archive({target: big}))
            await push(imaged, target)
        assert sum(head.startswith(b"PATCH") for head in asked) >= 5
        named = f"{registry.host}/chunks{breaks}:1"
        await imaged.remove(target)
        await imaged.collect()
        assert (await imaged.pulled(named)).size == 300_000


async def test_a_blob_that_is_not_taken_whole_goes_in_chunks(imaged: Served, registry: Registry) -> None:
    asked: list[bytes] = []

    def too_large(_: int, head: bytes) -> bool:
        return head.startswith(b"PUT") and b"Content-Length: 17" in head

    with listening(breaking(registry, asked, too_large, b"413 Too Large")) as port:
        target = f"127.0.0.1:{port}/large:1"
        await imaged.load(docker_archive({target: Image([layer([Entry("big", data=bytes(17 << 20))])])}))
        await push(imaged, target)
    assert sum(head.startswith(b"PATCH") for head in asked) == 2


async def test_a_blob_is_taken_over_from_another_repository_of_its_registry(imaged: Served, registry: Registry) -> None:
    registry.push("mount/from", "v1", pack(layered()))
    await imaged.pulled(f"{registry.host}/mount/from:v1")
    await tag(imaged, f"{registry.host}/mount/from:v1", f"{registry.host}/mount/to:v1")
    await push(imaged, f"{registry.host}/mount/to:v1")
    assert not any(line.startswith("PUT /v2/mount/to/blobs") for line in registry.requests()
                   if "sha256" in line)
    # One that the registry does not have there is sent, and no upload is left open.
    await imaged.load(docker_archive({f"{registry.host}/mount/not:1": Image([layer([Entry("x", data=b"other")])])}))
    await tag(imaged, f"{registry.host}/mount/not:1", f"{registry.host}/mount/to:v2")
    *progress, _ = await push(imaged, f"{registry.host}/mount/to:v2")
    assert pb.LAYER_PHASE_DONE in {each.layer.phase for each in progress}
    assert any(line.startswith("DELETE /v2/mount/to/blobs/uploads/") for line in registry.requests())


def breaking(
    registry: Registry, asked: list[bytes], breaks: Callable[[int, bytes], bool], status: bytes = b"503 Busy"
) -> Callable[[socket.socket], None]:
    """Hands requests on to the registry, and answers those itself of which ``breaks`` says so (number and head)."""
    seen = itertools.count(1)

    def pass_on(client: socket.socket) -> None:
        number = next(seen)
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := client.recv(65536)):
                return
            head += data
        asked.append(head)
        if breaks(number, head):
            client.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
            return
        with socket.create_connection(("127.0.0.1", registry.port)) as upstream:
            upstream.sendall(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            there = threading.Thread(target=copy, args=(client, upstream))
            there.start()
            copy(upstream, client)
            client.shutdown(socket.SHUT_RD)
            there.join()

    return pass_on


async def test_a_push_that_is_cancelled_leaves_nothing_running(imaged: Served) -> None:
    """The registry takes the connection and never answers."""
    taken, loop = asyncio.Event(), asyncio.get_running_loop()

    def hold(client: socket.socket) -> None:
        loop.call_soon_threadsafe(taken.set)
        while client.recv(65536):
            pass

    with listening(hold) as port:
        target = f"127.0.0.1:{port}/held:1"
        await imaged.load(docker_archive({target: layered()}))
        task = asyncio.create_task(push(imaged, target))
        await asyncio.wait_for(taken.wait(), 60)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, PierError)):
            await task
    assert await imaged.fsck() == []


async def test_an_image_whose_layers_came_compressed_otherwise_can_be_pushed_and_saved(
    imaged: Served, registry: Registry
) -> None:
    """The same image, loaded with plain layers and pulled with packed ones."""
    await imaged.load(docker_archive({"loaded:1": layered()}))
    registry.push("packed", "1", pack(layered()))
    pulled = await imaged.pulled(f"{registry.host}/packed:1")
    assert pulled.id == (await imaged.image("loaded:1")).id
    target = f"{registry.host}/again:1"
    await imaged.tag("loaded:1", target)
    await push(imaged, target)
    assert (await imaged.pulled(target)).id == pulled.id
    stub = rpc.ImageServiceStub(imaged.peer.channel)
    request = pb.SaveRequest(namespace=NAMESPACE, images=["loaded:1"])
    assert len([one async for one in imaged.peer.stream(stub.Save, request, 30)]) > 1
