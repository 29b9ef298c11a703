"""A gRPC server behind a door: who calls is known, and nobody else's word is taken for it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from chassis import listening
from chassis.audit import Audit
from chassis.caller import Callers, caller
from chassis.door import Doors, to_grpc
from chassis.errors import Unauthenticated
from chassis.guard import Guard
from chassis.roles import Roles
from chassis.server import Server
from pier.image.v1 import image_pb2, image_pb2_grpc


class Contents(image_pb2_grpc.ContentServiceServicer):
    """Tells who asks, and counts what is written."""

    async def BlobStatus(self, request: image_pb2.BlobStatusRequest, context: Any) -> image_pb2.BlobStatusResponse:
        return image_pb2.BlobStatusResponse(offset=caller.get().pid or 0)

    async def WriteBlob(
        self, requests: AsyncIterator[image_pb2.WriteBlobRequest], context: Any
    ) -> image_pb2.WriteBlobResponse:
        size = 0
        async for request in requests:
            size += len(request.data)
        return image_pb2.WriteBlobResponse(blob=image_pb2.Descriptor(size=size))


@asynccontextmanager
async def behind(directory: Path, *, tells_own: bool = False) -> AsyncIterator[tuple[Any, Guard]]:
    """A stub of the server that was dialled through its door."""
    guard = Guard(Roles(""), Audit(directory / "audit.log"), tells_own=tells_own)
    server = Server(guard)
    server.add(image_pb2_grpc.add_ContentServiceServicer_to_server, Contents(), "pier.image.v1.ContentService")  # type: ignore[abstract]
    await server.start(directory / "own.sock")
    listeners = listening.opened([f"unix://{directory}/door.sock"], [])
    async with Doors(listeners, None, to_grpc(directory / "own.sock", guard.callers)).serving():
        async with grpc.aio.insecure_channel(f"unix:{directory}/door.sock") as channel:
            yield image_pb2_grpc.ContentServiceStub(channel), guard
        await server.stop(0)


async def test_a_call_comes_from_the_process_behind_the_socket(tmp_path: Path) -> None:
    async with behind(tmp_path) as (stub, guard):
        answer = await stub.BlobStatus(image_pb2.BlobStatusRequest())
        assert answer.offset == os.getpid()
        assert len(guard.callers.known) == 1
    assert guard.callers.known == {}
    assert not (tmp_path / "audit.log").exists()  # it changed nothing


async def test_much_data_goes_through_and_a_change_is_told(tmp_path: Path) -> None:
    async with behind(tmp_path) as (stub, _):
        async def parts() -> AsyncIterator[image_pb2.WriteBlobRequest]:
            yield image_pb2.WriteBlobRequest(ref="upload-1")
            for _ in range(40):
                yield image_pb2.WriteBlobRequest(data=bytes(250_000))

        answer = await stub.WriteBlob(parts())
        assert answer.blob.size == 10_000_000
    (line,) = map(json.loads, (tmp_path / "audit.log").read_text().splitlines())
    assert (line["object"], line["who"]) == ("upload-1", {"uid": os.getuid(), "pid": os.getpid()})


@pytest.mark.parametrize("tells_own", [True, False])
async def test_the_own_socket_is_told_of_where_it_is_to_be(tmp_path: Path, tells_own: bool) -> None:
    async with behind(tmp_path, tells_own=tells_own):
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/own.sock") as channel:
            stub: Any = image_pb2_grpc.ContentServiceStub(channel)
            await stub.WriteBlob(iter([image_pb2.WriteBlobRequest(ref="x")]))
    assert (tmp_path / "audit.log").exists() == tells_own


async def test_a_call_whose_connection_is_closed_is_nobodys(tmp_path: Path) -> None:
    async with behind(tmp_path) as (stub, guard):
        await stub.BlobStatus(image_pb2.BlobStatusRequest())
        guard.callers.known.clear()  # as when a client sends a call and is gone at once
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.WriteBlob(iter([image_pb2.WriteBlobRequest(ref="x")]))
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(Unauthenticated):
        Callers().of("unix-abstract:pier-0")
    with pytest.raises(Unauthenticated):
        Callers().of("ipv4:127.0.0.1:1")
    assert Callers().of("unix:") is None


async def test_a_client_that_is_gone_leaves_nothing(tmp_path: Path) -> None:
    before = len(asyncio.all_tasks())
    async with behind(tmp_path) as (_, guard):
        for _ in range(20):
            _, writer = await asyncio.open_unix_connection(str(tmp_path / "door.sock"))
            writer.close()
        async with asyncio.timeout(10):
            while guard.callers.known:
                await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) <= before
