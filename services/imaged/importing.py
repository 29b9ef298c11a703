"""Import: an image of one layer from a tar of a root file system."""

from __future__ import annotations

import asyncio
import functools
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from chassis.errors import Unimplemented
from chassis.ids import Digest, new_id
from chassis.ids import digest as check_digest
from chassis.ids import namespace as check_namespace
from chassis.stages import stage
from imaged import archive, catalog, images, manifest, platform, reference
from imaged.blobs import Ingest
from imaged.catalog import Ref
from imaged.layers import Filling
from imaged.state import State
from imaged.unbroken import acquire, cancelled, unbroken
from imaged.unpack.unpacker import Feed
from imaged.unpack.worker import Unpacked
from pier.image.v1 import image_pb2 as pb

_PIECE: Final = 512 << 10


async def import_image(state: State, options: pb.ImportOptions, data: AsyncIterator[bytes]) -> pb.Image:
    """Make an image of the tar (plain, gzip or zstd) in ``data``."""
    namespace = check_namespace(options.namespace, "options.namespace")
    named = reference.parse(options.reference, "options.reference") if options.reference else None
    if named is not None:
        named = named.with_default_tag()
    wanted = images.check_platform(options.platform) if options.HasField("platform") else platform.host()
    if options.changes:
        raise Unimplemented(
            "import: changes to the config are not supported yet", reason="NOT_BUILT", field="options.changes")
    filling = await acquire(state.files, state.layers.begin, state.layers.discard)
    published = False
    try:
        ingest = await acquire(state.files, lambda: state.blobs.ingest(f"import-{new_id()}"), Ingest.abort)
        try:
            async with stage("import.unpack"):
                unpacked = await _stream(state, ingest, filling, data)
            diff_id = check_digest(unpacked.diff_id)
            async with state.gate.pinned([diff_id, ingest.digest]):
                async with stage("import.blob_commit"):
                    blob = await unbroken(state.files.run(ingest.commit))
                record = functools.partial(_record, state, namespace, named, options.message, wanted, blob, unpacked)
                published = True
                return await unbroken(_publish(state, filling, diff_id, record))
        finally:
            await unbroken(state.files.run(_abort_if_open, ingest))
    finally:
        if not published:
            await unbroken(state.files.run(state.layers.discard, filling))


async def _publish(
    state: State, filling: Filling, diff_id: Digest, record: Callable[[], Awaitable[pb.Image]]
) -> pb.Image:
    async with stage("import.layer_publish"):
        await state.files.run(state.layers.publish, filling, diff_id)
    return await record()


def _abort_if_open(ingest: Ingest) -> None:
    """An import that failed cannot be gone on with: the client's tar is not asked for again."""
    if not ingest.closed:
        ingest.abort()


async def _stream(state: State, ingest: Ingest, filling: Filling, data: AsyncIterator[bytes]) -> Unpacked:
    """Store and unpack at once."""
    reader = ingest.open_for_reading()
    feed = Feed()
    unpacking = asyncio.create_task(state.unpacker.unpack(reader, filling.fd, feed))
    try:
        held = bytearray()
        async for part in data:
            held += part
            if len(held) >= _PIECE:
                await _write(state, ingest, held, feed)
            if unpacking.done():
                break
        await _write(state, ingest, held, feed)
        feed.advance(ingest.offset, whole=True)
        return await unpacking
    finally:
        await cancelled(unpacking)
        os.close(reader)


async def _write(state: State, ingest: Ingest, held: bytearray, feed: Feed) -> None:
    await unbroken(state.files.run(ingest.write, bytes(held)))
    held.clear()
    feed.advance(ingest.offset)


async def _record(
    state: State, namespace: str, named: reference.Reference | None, comment: str, wanted: platform.Platform,
    blob: Digest, unpacked: Unpacked,
) -> pb.Image:
    diff_id = check_digest(unpacked.diff_id)
    created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    document = {
        "architecture": wanted.architecture, "os": wanted.os, "created": created, "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "comment": comment}],
    }
    if wanted.variant:
        document["variant"] = wanted.variant
    raw = msgspec.json.encode(document)
    async with stage("import.documents"):
        config_digest = await state.files.run(state.blobs.put, raw)
        layers = [await state.files.run(archive.layer_descriptor, state.blobs, blob)]
        descriptor = await state.files.run(archive.write_manifest, state.blobs, config_digest, layers)
    row = images.row_of(
        namespace, manifest.parse_config(raw, 1), config_digest, descriptor, layers, [descriptor.checked])
    refs = [Ref(named.canonical, row.id, row.body.manifest)] if named is not None else []
    layer = catalog.LayerRow(diff_id, diff_id, "", unpacked.size, unpacked.opaque_root)

    def write(connection: sqlite3.Connection) -> None:
        catalog.put_layer(connection, layer)
        images.record(state, connection, row, refs, "import", named.familiar if named else row.id)

    async with state.gate.pinned([config_digest, descriptor.checked]):
        await state.store.write("import.record", write)
    return await images.message(state, row)
