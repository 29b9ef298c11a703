"""CommitSnapshot: a writable snapshot becomes a layer, and a name stands for it.

The layer's tar is written once, for its blob; the upper directory itself becomes the layer's directory by a rename. It
loses on the way what is not in the tar (diff/settle.py), so the two say the same. Order: tar and blob (a crash leaves
the snapshot and a blob for the sweep); the intent; the rename; the record, which takes the key away and sets the name.
From the intent on a crash is finished at the next start: everything that it takes is durable by then.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from contextlib import AsyncExitStack
from typing import Final

import msgspec
from isal import isal_zlib

from chassis import store
from chassis.errors import AlreadyExists, Conflict, InvalidArgument
from chassis.ids import Digest, new_id
from chassis.ids import digest as check_digest
from chassis.ids import key as check_key
from chassis.stages import stage
from imaged import catalog, differences, manifest, snapshots
from imaged.blobs import Ingest
from imaged.catalog import ImageLayer, LayerRow, SnapshotRow
from imaged.commit import GZIP
from imaged.state import State
from imaged.unbroken import acquire, unbroken
from pier.image.v1 import image_pb2 as pb

VERB: Final = "commit_snapshot"
_BLOCK: Final = 256 << 10
_SECOND: Final = 10**9


class Made(msgspec.Struct, frozen=True):
    """The intent: what the snapshot ``key`` is to be when it is done. ``size`` is that of the layer's files in bytes;
    ``top`` is the layer, None where nothing was changed."""

    key: str
    name: str
    top: ImageLayer | None
    size: int = 0


async def commit(state: State, request: pb.CommitSnapshotRequest) -> pb.CommitSnapshotResponse:
    """Commit ``key`` as ``name``. NotFound (NO_SNAPSHOT), AlreadyExists (the name is another's), InvalidArgument
    (READ_ONLY), Conflict (NO_BLOBS) where nobody knows the blobs of the layers below."""
    key, name = check_key(request.key), check_key(request.name, "name")
    if key == name:
        raise InvalidArgument("name: it is the key of the snapshot", reason="BAD_FIELD", field="name",
                              expected="another word than `key`")
    clamp_ns = request.clamp.seconds * _SECOND if request.HasField("clamp") else None

    async def work() -> pb.CommitSnapshotResponse:
        async with AsyncExitStack() as locks:
            for one in sorted((key, name)):
                await locks.enter_async_context(state.locks.hold(f"snapshot:{one}"))
            return await _commit(state, key, name, list(request.mount_points), clamp_ns)

    return await state.operations.run(f"commit:{key}", request.SerializeToString(deterministic=True), work)


async def _commit(
    state: State, key: str, name: str, mount_points: list[bytes], clamp_ns: int | None
) -> pb.CommitSnapshotResponse:
    row, done = await state.store.read(
        lambda connection: (catalog.snapshot(connection, key), catalog.snapshot(connection, name)))
    if done is not None:
        asked = {snapshots.asked_by_commit(key, made_layer=made) for made in (True, False)}
        if row is None and done.committed and done.asked in asked:
            return await _answer(state, done)
        raise AlreadyExists(f"snapshot {name} is there already", reason="NAME_TAKEN", field="name")
    row = await snapshots.need(state, key)
    if not row.writable:
        raise InvalidArgument(f"snapshot {key} is not writable: it has changed nothing", reason="READ_ONLY",
                              field="key", expected="a writable snapshot")
    if row.parent and not row.layers:
        raise Conflict(f"snapshot {key}: the blobs of the layers below it are not known", reason="NO_BLOBS",
                       field="key")
    below = [digest for layer in row.layers for digest in (layer.chain_id, layer.blob)]
    ingest = await acquire(state.files, lambda: state.blobs.ingest(f"commit-{new_id()}"), Ingest.abort)
    try:
        async with state.gate.pinned(below):
            async with stage(f"{VERB}.layer", key=key) as step:
                diff_id, settled = await _layer(state, ingest, key, mount_points, clamp_ns)
                step.note(changes=settled.changes, bytes=ingest.offset)
            if not settled.changes:
                return await _publish(state, row, Made(key, name, None))
            chain_id = manifest.chain_ids([*(layer.diff_id for layer in row.layers), diff_id])[-1]
            async with state.gate.pinned([chain_id, ingest.digest]):
                size = ingest.offset
                async with stage(f"{VERB}.blob", bytes=size):
                    blob = await unbroken(state.files.run(ingest.commit))
                top = ImageLayer(diff_id, chain_id, manifest.OCI_LAYER + "+gzip", blob, size)
                return await _publish(state, row, Made(key, name, top, settled.size))
    finally:
        await unbroken(state.files.run(_abort_if_open, ingest))


def _abort_if_open(ingest: Ingest) -> None:
    if not ingest.closed:
        ingest.abort()


async def _layer(
    state: State, ingest: Ingest, key: str, mount_points: list[bytes], clamp_ns: int | None
) -> tuple[Digest, differences.Settled]:
    """Write the blob; the diff id. The tar is compressed while the program goes on reading: on two cores that costs
    no time, and what is pushed later is a third of it."""
    hasher = hashlib.sha256()
    packer = isal_zlib.compressobj(isal_zlib.ISAL_DEFAULT_COMPRESSION, isal_zlib.DEFLATED, GZIP)
    held = bytearray()

    def write(part: bytes, *, last: bool = False) -> None:
        # What comes out depends on how it is cut: as the pipe happens to give it would be another blob each time.
        hasher.update(part)
        held.extend(part)
        while len(held) >= _BLOCK:
            ingest.write(packer.compress(bytes(held[:_BLOCK])))
            del held[:_BLOCK]
        if last:
            ingest.write(packer.compress(bytes(held)) + packer.flush())

    async def take(part: bytes) -> None:
        await unbroken(state.files.run(write, part))

    settled = await differences.settle(state, key, mount_points, clamp_ns, take)
    await unbroken(state.files.run(write, b"", last=True))
    return check_digest("sha256:" + hasher.hexdigest()), settled


async def _publish(state: State, row: SnapshotRow, made: Made) -> pb.CommitSnapshotResponse:
    if made.top is not None:
        await state.store.write(f"{VERB}.intent", lambda connection: store.begin(
            connection, f"{VERB}:{made.key}", VERB, msgspec.json.encode(made)))
    return await unbroken(_finish(state, row, made))


async def _finish(state: State, row: SnapshotRow, made: Made) -> pb.CommitSnapshotResponse:
    top, upper = made.top, state.rootfs.upper(made.key)
    committed = SnapshotRow(
        made.name, row.manager, row.namespace, row.owner_id, time.time_ns(), top.chain_id if top else row.parent, False,
        snapshots.asked_by_commit(made.key, made_layer=top is not None), True,
        (*row.layers, top) if top else row.layers)

    def write(connection: sqlite3.Connection) -> None:
        if top is not None and catalog.layer(connection, top.chain_id) is None:
            catalog.put_layer(connection, LayerRow(top.chain_id, top.diff_id, row.parent, made.size, False))
        catalog.drop_snapshot(connection, made.key)
        catalog.put_snapshot(connection, committed)
        store.finish(connection, f"{VERB}:{made.key}")

    if top is None:
        await state.store.write(f"{VERB}.record", write)
    else:
        async with state.locks.hold(f"layer:{top.chain_id}"):
            async with stage(f"{VERB}.rename", chain_id=top.chain_id):
                await state.files.run(state.layers.adopt, upper, top.chain_id)
            await state.store.write(f"{VERB}.record", write)
    async with stage(f"{VERB}.directories", key=made.key):
        await state.files.run(state.rootfs.bin, made.key)
    state.operations.spawn("trash", lambda: state.files.run(state.layers.empty_trash))
    return await _answer(state, committed)


async def finish(state: State, intent: store.Intent) -> None:
    """Carry out a commit that a crash broke off."""
    made = msgspec.json.decode(intent.body, type=Made)
    row = await state.store.read(lambda connection: catalog.snapshot(connection, made.key))
    assert row is not None, "the record goes with the intent, in one transaction"
    await _finish(state, row, made)


async def _answer(state: State, row: SnapshotRow) -> pb.CommitSnapshotResponse:
    answer = pb.CommitSnapshotResponse(chain_id=row.parent)
    if snapshots.commit_made_layer(row):
        top = row.layers[-1]
        layer = await state.store.read(lambda connection: catalog.layer(connection, top.chain_id))
        answer.layer.CopyFrom(pb.Layer(
            diff_id=top.diff_id, chain_id=top.chain_id, size=layer.size if layer else 0,
            blob=pb.Descriptor(media_type=top.media_type, digest=top.blob, size=top.blob_size)))
    return answer
