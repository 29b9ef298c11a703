"""imaged over gRPC: blobs are written in parts, read from anywhere, and kept by a lease."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator

import pytest

from chassis.errors import (
    InvalidArgument,
    NotFound,
)
from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from tests.service.imaged.served import Served, owner


@pytest.fixture
def imaged(snapshots: Served) -> Served:
    return snapshots


async def test_a_blob_is_written_in_parts_and_read_from_an_offset(imaged: Served) -> None:
    content = os.urandom(3_000_000)
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    await imaged.call(rpc.ContentServiceStub, "CreateLease", pb.CreateLeaseRequest(id="lease", owner=owner("x")))

    stub = rpc.ContentServiceStub(imaged.peer.channel)
    there = asyncio.Event()

    async def requests(offset: int, end: int) -> AsyncIterator[pb.WriteBlobRequest]:
        yield pb.WriteBlobRequest(ref="r", digest=digest, offset=offset, lease="lease")
        for start in range(offset, end, 500_000):
            yield pb.WriteBlobRequest(data=content[start : min(end, start + 500_000)])
        if end < len(content):
            there.set()
            await asyncio.Event().wait()

    async def write(offset: int, end: int) -> None:
        await imaged.call(rpc.ContentServiceStub, "WriteBlob", requests(offset, end))

    broken = asyncio.create_task(write(0, 1_000_000))
    await asyncio.wait_for(there.wait(), 60)
    broken.cancel()
    await asyncio.gather(broken, return_exceptions=True)

    async def offset() -> int:
        status = await imaged.call(rpc.ContentServiceStub, "BlobStatus", pb.BlobStatusRequest(ref="r"))
        return int(status.offset)

    with pytest.raises(InvalidArgument, match="goes on at"):
        await write(await offset() + 1, len(content))
    async with asyncio.timeout(60):
        while True:
            # What had come before the cancellation may still be on its way to the disk.
            with contextlib.suppress(InvalidArgument):
                await write(await offset(), len(content))
                break
    request = pb.ReadBlobRequest(digest=digest, offset=1_234_567, length=1_000_000)
    read = b"".join([one.data async for one in imaged.peer.stream(stub.ReadBlob, request)])
    assert read == content[1_234_567:2_234_567]
    await imaged.collect()
    assert imaged.directories()["blobs/sha256"] == [digest.removeprefix("sha256:")]
    await imaged.call(rpc.ContentServiceStub, "DeleteLease", pb.DeleteLeaseRequest(id="lease"))
    assert (await imaged.collect()).blobs == 1
    with pytest.raises(NotFound):
        [one async for one in imaged.peer.stream(stub.ReadBlob, request)]


@pytest.mark.parametrize(
    "digest", ["sha256:../../x", "../../../etc/passwd", "sha256:" + "0" * 63, "md5:" + "0" * 32, ""])
async def test_36_a_digest_that_is_none_reaches_no_path(imaged: Served, digest: str) -> None:
    stub = rpc.ContentServiceStub(imaged.peer.channel)
    with pytest.raises(InvalidArgument):
        [one async for one in imaged.peer.stream(stub.ReadBlob, pb.ReadBlobRequest(digest=digest))]
