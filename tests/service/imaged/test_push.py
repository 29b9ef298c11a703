"""Push, against Debian's registry and one that lies."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import socketserver
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chassis.errors import NotFound, PierError, Unavailable
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


@pytest.mark.parametrize("breaks", range(1, 9))
async def test_a_registry_that_breaks_at_any_request_is_tried_again(
    imaged: Served, registry: Registry, breaks: int
) -> None:
    """A proxy that answers 503 to one request in turn."""
    seen = itertools.count(1)
    asked = []

    def pass_on(client: socket.socket) -> None:
        number = next(seen)
        asked.append(number)
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := client.recv(65536)):
                return
            head += data
        if number == breaks:
            client.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", registry.port)) as upstream:
            upstream.sendall(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            there = threading.Thread(target=copy, args=(client, upstream))
            there.start()
            copy(upstream, client)
            client.shutdown(socket.SHUT_RD)
            there.join()

    with listening(pass_on) as port:
        target = f"127.0.0.1:{port}/breaks{breaks}:1"
        await imaged.load(docker_archive({target: layered()}))
        *_, last = await push(imaged, target)
        assert last.manifest.digest
        assert max(asked) > breaks
    named = f"{registry.host}/breaks{breaks}:1"
    await imaged.pulled(named)
    assert shown(await imaged.prepare("a", named)) == LAYERED


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
        await asyncio.wait_for(taken.wait(), 20)
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
