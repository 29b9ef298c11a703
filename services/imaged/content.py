"""Blobs and leases for callers that work with content themselves."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import AsyncIterator
from typing import Final

from chassis.errors import AlreadyExists, InvalidArgument
from chassis.ids import Digest
from chassis.ids import digest as check_digest
from chassis.ids import key as check_key
from chassis.ids import owner as check_owner
from chassis.stages import stage
from imaged import catalog
from imaged.blobs import Ingest
from imaged.state import State
from imaged.unbroken import acquire, unbroken
from pier.image.v1 import image_pb2 as pb

_PIECE: Final = 512 << 10


async def read(state: State, request: pb.ReadBlobRequest) -> AsyncIterator[bytes]:
    """A blob's bytes from ``offset`` on, ``length`` of them or all."""
    digest = check_digest(request.digest)
    async with state.gate.pinned([digest]):
        fd = await acquire(state.files, lambda: state.blobs.open(digest), os.close)
        try:
            size = os.fstat(fd).st_size
            if request.offset > size:
                raise InvalidArgument(f"offset: the blob has {size} bytes", reason="OUT_OF_RANGE", field="offset")
            position = int(request.offset)
            end = min(size, position + int(request.length)) if request.length else size
            while position < end:
                piece = await unbroken(state.files.run(os.pread, fd, min(_PIECE, end - position), position))
                position += len(piece)
                yield piece
        finally:
            os.close(fd)


async def write(
    state: State, first: pb.WriteBlobRequest, data: AsyncIterator[bytes]
) -> pb.Descriptor:
    """Write a blob under the caller's ``ref``, or go on with it at ``offset``, which is where it ended."""
    ref = "client-" + check_key(first.ref, "ref")
    digest = check_digest(first.digest)
    lease = check_key(first.lease, "lease") if first.lease else ""
    await state.store.read(lambda connection: catalog.check_lease(connection, lease))
    async with state.gate.pinned([digest]):
        if not await state.files.run(state.blobs.has, digest):
            async with stage("write_blob.ingest", digest=digest):
                await _ingest(state, ref, digest, int(first.offset), data)
        await state.store.write("write_blob.record", lambda connection: catalog.keep(
            connection, lease, "blob", [digest]))
        return pb.Descriptor(digest=digest, size=await state.files.run(state.blobs.size, digest))


async def _ingest(state: State, ref: str, digest: Digest, offset: int, data: AsyncIterator[bytes]) -> None:
    ingest = await acquire(state.files, lambda: state.blobs.ingest(ref), Ingest.close)
    try:
        if offset != ingest.offset:
            raise InvalidArgument(
                f"offset: the write goes on at {ingest.offset}", reason="BAD_OFFSET", field="offset",
                expected=str(ingest.offset))
        async for piece in data:
            await unbroken(state.files.run(ingest.write, piece))
        async with stage("write_blob.commit", digest=digest):
            await unbroken(state.files.run(ingest.commit, digest))
    finally:
        await unbroken(state.files.run(ingest.close))


async def status(state: State, ref: str) -> int:
    """Bytes of an unfinished write that are here."""
    return await state.files.run(state.blobs.ingested, "client-" + check_key(ref, "ref"))


async def create_lease(state: State, request: pb.CreateLeaseRequest) -> None:
    """Make a lease, or set the expiry of the caller's own anew."""
    lease, owner = check_key(request.id, "id"), check_owner(request.owner)
    expires = request.expires_at.ToNanoseconds() if request.HasField("expires_at") else 0
    if expires and expires <= time.time_ns():
        raise InvalidArgument("expires_at: it lies in the past", reason="BAD_TIME", field="expires_at")

    def put(connection: sqlite3.Connection) -> None:
        there = catalog.lease_owner(connection, lease)
        if there is not None and there != (owner.manager, owner.namespace, owner.id):
            raise AlreadyExists(f"lease {lease} belongs to somebody else", reason="SPEC_DIFFERS", field="id")
        catalog.put_lease(connection, (lease, owner.manager, owner.namespace, owner.id, expires))

    await state.store.write("lease.record", put)


async def delete_lease(state: State, lease: str) -> None:
    checked = check_key(lease, "id")
    await state.store.write("lease.record", lambda connection: catalog.drop_lease(connection, checked))
