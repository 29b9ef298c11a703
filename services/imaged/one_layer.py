"""An image of one new layer, on those of another image or on none: what Import and Commit have in common."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from chassis.errors import InvalidArgument
from chassis.ids import Digest, new_id
from chassis.ids import digest as check_digest
from chassis.stages import stage
from imaged import archive, catalog, images, manifest, reference
from imaged.blobs import Ingest
from imaged.catalog import ImageLayer, Ref
from imaged.layers import Filling
from imaged.state import State
from imaged.unbroken import acquire, cancelled, unbroken
from imaged.unpack.unpacker import Feed
from imaged.unpack.worker import Unpacked
from pier.image.v1 import image_pb2 as pb

_PIECE: Final = 512 << 10


@dataclass(frozen=True)
class NewImage:
    """What is to be made; ``action`` is the event's. ``document`` is the image configuration without what follows from
    the new layer; ``below`` are the layers that it stands on, with ``history`` theirs; ``said`` goes into the new
    layer's own history."""

    verb: str
    action: str
    namespace: str
    named: reference.Reference | None
    document: dict[str, Any]
    config: bytes
    below: Sequence[ImageLayer] = ()
    history: Sequence[Any] = ()
    said: dict[str, str] = field(default_factory=dict)


async def make(state: State, new: NewImage, data: AsyncIterator[bytes]) -> pb.Image:
    """Make the image of the layer tar (plain, gzip or zstd) in ``data``. InvalidArgument for a config that is none."""
    config = check_config(new.config)
    filling = await acquire(state.files, state.layers.begin, state.layers.discard)
    published = False
    try:
        ingest = await acquire(state.files, lambda: state.blobs.ingest(f"{new.verb}-{new_id()}"), Ingest.abort)
        try:
            async with stage(f"{new.verb}.unpack"):
                unpacked = await stream(state, ingest, filling, data)
            diff_ids = [*(layer.diff_id for layer in new.below), check_digest(unpacked.diff_id)]
            chain_id = manifest.chain_ids(diff_ids)[-1]
            async with state.gate.pinned([chain_id, ingest.digest, *(layer.chain_id for layer in new.below)]):
                async with stage(f"{new.verb}.blob_commit"):
                    blob = await unbroken(state.files.run(ingest.commit))
                published = True
                return await unbroken(_publish(state, new, config, filling, unpacked, blob, chain_id))
        finally:
            await unbroken(state.files.run(_abort_if_open, ingest))
    finally:
        if not published:
            await unbroken(state.files.run(state.layers.discard, filling))


async def _publish(
    state: State, new: NewImage, config: dict[str, Any], filling: Filling, unpacked: Unpacked, blob: Digest,
    chain_id: Digest,
) -> pb.Image:
    async with stage(f"{new.verb}.layer_publish"):
        await state.files.run(state.layers.publish, filling, chain_id)
    return await _record(state, new, config, unpacked, blob, chain_id)


def check_config(raw: bytes) -> dict[str, Any]:
    """The `config` object in ``raw``."""
    try:
        config = msgspec.json.decode(raw or b"{}")
        manifest.parse_config(msgspec.json.encode({"config": config, "rootfs": {"type": "layers", "diff_ids": []}}))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"config: {error}", reason="BAD_CONFIG", field="config") from error
    if not isinstance(config, dict):
        raise InvalidArgument("config: not an object", reason="BAD_CONFIG", field="config")
    return config


def _abort_if_open(ingest: Ingest) -> None:
    """An import that failed cannot be gone on with: the client's tar is not asked for again."""
    if not ingest.closed:
        ingest.abort()


async def stream(
    state: State, ingest: Ingest, filling: Filling, data: AsyncIterator[bytes], *, plain: bool = False
) -> Unpacked:
    """Store a layer tar (uncompressed, gzip or zstd) and unpack it at once; ``plain``: whiteouts in it are files."""
    reader = ingest.open_for_reading()
    feed = Feed()
    unpacking = asyncio.create_task(state.unpacker.unpack(reader, filling.fd, feed, plain=plain))
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
    state: State, new: NewImage, config: dict[str, Any], unpacked: Unpacked, blob: Digest, chain_id: Digest
) -> pb.Image:
    diff_id = check_digest(unpacked.diff_id)
    created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    raw = msgspec.json.encode({
        **new.document, "created": created, "config": config,
        "rootfs": {"type": "layers", "diff_ids": [*(layer.diff_id for layer in new.below), diff_id]},
        "history": [*new.history, {"created": created, **new.said}],
    })
    async with stage(f"{new.verb}.documents"):
        config_digest = await state.files.run(state.blobs.put, raw)
        layers = [manifest.Descriptor(layer.media_type, layer.blob, layer.blob_size) for layer in new.below]
        layers.append(await state.files.run(archive.layer_descriptor, state.blobs, blob))
        descriptor = await state.files.run(archive.write_manifest, state.blobs, config_digest, layers)
    row = images.row_of(
        new.namespace, manifest.parse_config(raw, len(layers)), config_digest, descriptor, layers,
        [descriptor.checked])
    refs = [Ref(new.named.canonical, row.id, row.body.manifest)] if new.named is not None else []
    parent = new.below[-1].chain_id if new.below else ""
    layer = catalog.LayerRow(chain_id, diff_id, parent, unpacked.size, unpacked.opaque_root)

    def write(connection: sqlite3.Connection) -> None:
        catalog.put_layer(connection, layer)
        images.record(state, connection, row, refs, new.action, new.named.familiar if new.named else row.id)

    async with state.gate.pinned([config_digest, descriptor.checked]):
        await state.store.write(f"{new.verb}.record", write)
    return await images.message(state, row)
