"""Snapshots: root file systems in use, as mounts to make.

The record is what makes a snapshot exist. Prepare makes the directories first and then the record, Remove takes the
record away first and then the directories: directories without a record are always left-overs. A commit renames the
upper directory, and so it writes down first what it is about (commit_snapshot.py).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from chassis import trees
from chassis.errors import AlreadyExists, Conflict, NotFound, PierError
from chassis.ids import digest as check_digest
from chassis.ids import key as check_key
from chassis.ids import owned_by
from chassis.ids import owner as check_owner
from chassis.stages import stage
from imaged import catalog, images
from imaged.catalog import ImageLayer, SnapshotRow
from imaged.install import install, wanted_layers
from imaged.state import State
from pier.image.v1 import image_pb2 as pb
from pier.types.v1 import types_pb2

Request = pb.PrepareSnapshotRequest | pb.ViewSnapshotRequest


async def prepare(state: State, request: Request, *, writable: bool) -> pb.Snapshot:
    """Make a snapshot, or answer the one that is there; AlreadyExists where that has another parent or owner."""
    key = check_key(request.key)
    owner = check_owner(request.owner)
    asked = _asked(request)

    def find(connection: sqlite3.Connection) -> SnapshotRow | None:
        return catalog.snapshot(connection, key)

    async def make() -> pb.Snapshot:
        async with state.locks.hold(f"snapshot:{key}"):
            row = await state.store.read(find)
            if row is None:
                verb = "prepare" if writable else "view"
                if writable:
                    async with stage(f"{verb}.directories", key=key):
                        await state.files.run(state.rootfs.make, key)
                try:
                    row = await _record(state, verb, lambda connection: _write(connection, key, owner, asked, writable))
                except PierError:
                    await state.files.run(state.rootfs.bin, key)
                    state.operations.spawn("trash", lambda: state.files.run(state.layers.empty_trash))
                    raise
        _check_same(row, owner, asked, writable)
        return await message(state, row)

    return await state.operations.run(f"prepare:{key}", _fingerprint(request, writable), make)


async def _record(state: State, verb: str, write: Callable[[sqlite3.Connection], SnapshotRow]) -> SnapshotRow:
    """Write the record; a layer that was lost from disk is unpacked again first, where its blob is here."""
    try:
        return await state.store.write(f"{verb}.record", write)
    except _Lost as lost:
        layers = lost.layers
        wanted = wanted_layers(
            [layer.diff_id for layer in layers], [layer.chain_id for layer in layers],
            [(layer.blob, layer.blob_size) for layer in layers])
        async with state.gate.pinned([layer.chain_id for layer in layers]):
            await install(state, verb, wanted, lambda _: None)
            return await state.store.write(f"{verb}.record", write)


class _Lost(Exception):
    """A layer of these is not unpacked any more."""

    def __init__(self, layers: Sequence[ImageLayer]) -> None:
        super().__init__(layers[-1].chain_id)
        self.layers = layers


def _fingerprint(request: Request, writable: bool) -> bytes:
    return bytes([writable]) + request.SerializeToString(deterministic=True)


def _asked(request: Request) -> str:
    match request.WhichOneof("parent"):
        case "image":
            return f"image:{request.image}"
        case "chain_id":
            return f"layer:{check_digest(request.chain_id, 'chain_id')}"
        case "snapshot":
            return f"snapshot:{check_key(request.snapshot, 'snapshot')}"
        case _:
            return ""


def _write(
    connection: sqlite3.Connection, key: str, owner: types_pb2.Owner, asked: str, writable: bool
) -> SnapshotRow:
    """Resolve the parent and write the record in one transaction: the layers cannot be swept in between."""
    layers: Sequence[ImageLayer] = ()
    kind, _, name = asked.partition(":")
    if kind == "image":
        layers = images.resolve(connection, owner.namespace, name)[0].body.layers
    elif kind == "snapshot":
        layers = committed(connection, name).layers
    elif kind == "layer":
        layers = catalog.known_layers(connection, name)
    parent = layers[-1].chain_id if layers else name if kind == "layer" else ""
    if any(catalog.layer(connection, layer.chain_id) is None for layer in layers):
        raise _Lost(layers)
    catalog.chain(connection, parent)
    row = SnapshotRow(key, owner.manager, owner.namespace, owner.id, time.time_ns(), parent, writable, asked,
                      layers=tuple(layers))
    catalog.put_snapshot(connection, row)
    return row


def committed(connection: sqlite3.Connection, name: str, field: str = "snapshot") -> SnapshotRow:
    """The committed snapshot of that name. NotFound (NO_SNAPSHOT); Conflict (NOT_COMMITTED)."""
    row = catalog.snapshot(connection, name)
    if row is None:
        raise NotFound(f"no such snapshot: {name}", reason="NO_SNAPSHOT", field=field)
    if not row.committed:
        raise Conflict(f"snapshot {name} is not committed", reason="NOT_COMMITTED", field=field,
                       expected="the name of a committed snapshot")
    return row


def asked_by_commit(key: str, *, made_layer: bool) -> str:
    """``SnapshotRow.asked`` of what was committed from the snapshot ``key``."""
    return f"{'commit' if made_layer else 'same'}:{key}"


def commit_made_layer(row: SnapshotRow) -> bool:
    """Whether the committed snapshot has a layer of its own, or its parent's alone."""
    return row.asked.startswith("commit:")


def _check_same(row: SnapshotRow, owner: types_pb2.Owner, asked: str, writable: bool) -> None:
    there = (row.manager, row.namespace, row.owner_id, row.asked, row.writable, row.committed)
    if there != (owner.manager, owner.namespace, owner.id, asked, writable, False):
        raise AlreadyExists(f"snapshot {row.key} is there already, with another parent or owner", reason="SPEC_DIFFERS",
                            field="key")


async def message(state: State, row: SnapshotRow, *, strict: bool = True) -> pb.Snapshot:
    """The snapshot as its message. Where a layer is lost it has no mounts, or with ``strict`` that is NotFound."""
    try:
        below = await layers(state, row)
        mounts = [] if row.committed else state.rootfs.mounts(row.key, below, writable=row.writable)
    except NotFound:
        if strict:
            raise
        mounts = []
    snapshot = pb.Snapshot(
        key=row.key, owner=types_pb2.Owner(manager=row.manager, namespace=row.namespace, id=row.owner_id),
        parent=row.parent, writable=row.writable, committed=row.committed, mounts=mounts,
        upper=bytes(state.rootfs.upper(row.key)) if row.writable else b"",
    )
    snapshot.created_at.FromNanoseconds(row.created_ns)
    return snapshot


async def layers(state: State, row: SnapshotRow) -> list[Path]:
    """The directories of the layers that a snapshot stands on, the upmost first."""
    found = await state.store.read(lambda connection: catalog.chain(connection, row.parent))
    return [state.layers.path(layer.chain_id) for layer in found]


async def lowers(state: State, key: str) -> tuple[list[Path], list[str]]:
    """The layers of a snapshot, the upmost first, as an overlay without anything writable names them: two at least, or
    none; and the overlay's options."""
    found = await layers(state, await need(state, key))
    if len(found) == 1:
        found.append(state.rootfs.empty)
    return found, list(state.rootfs.options)


async def get(state: State, key: str) -> pb.Snapshot:
    """NotFound where there is none."""
    return await message(state, await need(state, key))


async def need(state: State, key: str, field: str = "key") -> SnapshotRow:
    """The record. NotFound (NO_SNAPSHOT) where there is none."""
    checked = check_key(key, field)
    row = await state.store.read(lambda connection: catalog.snapshot(connection, checked))
    if row is None:
        raise NotFound(f"no such snapshot: {checked}", reason="NO_SNAPSHOT", field=field)
    return row


async def usage(state: State, key: str) -> trees.Usage:
    """Bytes and inodes of the writable layer."""
    row = await need(state, key)
    if not row.writable:
        return trees.Usage(0, 0)
    return await state.files.run(state.rootfs.usage, row.key)


async def remove(state: State, key: str) -> None:
    """Take a snapshot away; nothing where it is not there. Its files are deleted afterwards, by the service."""
    checked = check_key(key)

    async def work() -> None:
        async with state.locks.hold(f"snapshot:{checked}"):
            await state.store.write("remove.record", lambda connection: catalog.drop_snapshot(connection, checked))
            async with stage("remove.directories", key=checked):
                await state.files.run(state.rootfs.bin, checked)
        state.operations.spawn("trash", lambda: state.files.run(state.layers.empty_trash))

    await state.operations.run(f"remove:{checked}", b"", work)


async def listing(
    state: State, request: pb.ListSnapshotsRequest, page_size: int
) -> tuple[list[pb.Snapshot], str]:
    """A page of snapshots, and the token of the next. InvalidArgument (BAD_ID)."""
    owned_by(request)
    after = request.page_token
    if after:
        check_key(after, "page_token")
    rows = await state.store.read(lambda connection: catalog.snapshots(
        connection, request.manager, request.namespace, page_size + 1, after))
    page = rows[:page_size]
    found = [await message(state, row, strict=False) for row in page]
    return found, page[-1].key if len(rows) > page_size else ""
