"""fsck: the comparison that each start makes, and besides it every byte of every blob and every file of every layer.

Both ways: what the catalogue names is there and is what it was, and what is there is named. With ``repair`` a blob
that is damaged leaves the store for the quarantine; what is lost is fetched again where its image came from a
registry, and made again where it can be; what cannot be had stays a finding. Nothing that is referred to is deleted.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

from chassis.errors import PierError
from chassis.ids import Digest
from chassis.stages import stage
from imaged import catalog, gc, heal, recover, verify
from imaged.catalog import ImageLayer, ImageRow
from imaged.recover import finding
from imaged.state import State
from imaged.verify import Changed, Damaged
from pier.system.v1 import system_pb2

_SNAPSHOT_LOST: Final = "SNAPSHOT_WITHOUT_LAYER"


class Fsck:
    """The rpc's answer. A comparison belongs to the service and not to who asked: asked again, it is joined."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._running: dict[bool, asyncio.Task[object]] = {}

    async def check(self, repair: bool) -> list[system_pb2.Finding]:
        """All findings, and with ``repair`` what was set right."""
        task = self._running.get(repair)
        if task is None:
            # In the background: a service that stops does not wait for the end of what may take an hour.
            task = self._state.operations.spawn("fsck", lambda: _fsck(self._state, repair))
            self._running[repair] = task
            task.add_done_callback(lambda _: self._running.pop(repair))
        return cast(list[system_pb2.Finding], await asyncio.shield(task))


async def _fsck(state: State, repair: bool) -> list[system_pb2.Finding]:
    async with stage("fsck.compare"):
        found = await recover.check(state, repair=repair)
    async with stage("fsck.blobs"):
        damaged = {one.digest: one async for one in verify.damaged_blobs(state)}
        if repair:
            for one in damaged.values():
                await _set_aside(state, one)
        found += await _blobs(state, damaged, repair)
    async with stage("fsck.layers"):
        found += [await _changed(state, one, repair) async for one in verify.changed_layers(state)]
        found += await _lacking(state, repair)
    known = {row.chain_id for row in await state.store.read(catalog.layers)}
    for difference in found:
        if difference.reason == _SNAPSHOT_LOST:
            difference.repaired = await _parent_of(state, difference.subject) in known
    return found


async def _set_aside(state: State, damaged: Damaged) -> None:
    async with state.locks.hold(f"blob:{damaged.digest}"):
        await state.files.run(state.blobs.set_aside, damaged.digest, damaged.inode, damaged.reason)


@dataclass(frozen=True)
class _Wanted:
    images: list[ImageRow]
    blobs: set[str]


async def _blobs(state: State, damaged: dict[Digest, Damaged], repair: bool) -> list[system_pb2.Finding]:
    """What is damaged, what is lost and what is in quarantine: each blob once."""
    def wanted(connection: sqlite3.Connection) -> _Wanted:
        return _Wanted(catalog.all_images(connection), gc.marked_blobs(connection))

    async with state.gate.sweeping() as pinned:
        needed = await state.store.read(wanted)
        there, held = await state.files.run(lambda: (set(state.blobs), set(state.blobs.quarantine)))
    lost = {digest for digest in map(Digest, needed.blobs) if digest not in there | pinned}
    return [
        await _blob(state, digest, damaged.get(digest), needed, repair) for digest in sorted({*damaged, *lost, *held})]


async def _blob(
    state: State, digest: Digest, damaged: Damaged | None, needed: _Wanted, repair: bool
) -> system_pb2.Finding:
    wanting = heal.wanting(needed.images, digest)
    note = await state.files.run(state.blobs.quarantine.note, digest)
    if damaged is not None:
        reason, text = "BLOB_DAMAGED", damaged.reason
    elif note is not None:
        since = datetime.fromtimestamp(note.since_ns / 1e9, UTC).isoformat(timespec="seconds")
        reason, text = "BLOB_IN_QUARANTINE", f"since {since}: {note.reason}"
    else:
        reason, text = "RECORD_WITHOUT_BLOB", "a blob that is referred to is gone"
    text += _who(wanting)
    if not repair:
        return finding(reason, digest, text, False)
    if digest not in needed.blobs:
        await state.files.run(state.blobs.quarantine.drop, digest)
        return finding(reason, digest, f"{text}; nothing refers to it: deleted", True)
    try:
        await heal.blob(state, digest, wanting)
    except PierError as error:
        return finding(reason, digest, f"{text}; not fetched again: {error.message}", False)
    await state.files.run(state.blobs.quarantine.drop, digest)
    return finding(reason, digest, f"{text}; fetched again", True)


def _who(wanting: Sequence[ImageRow]) -> str:
    if not wanting:
        return ""
    more = f" and {len(wanting) - 1} more" if len(wanting) > 1 else ""
    return f"; of image {wanting[0].id}{more}, which cannot be pushed or saved before it is pulled or loaded again"


async def _changed(state: State, changed: Changed, repair: bool) -> system_pb2.Finding:
    """A layer is unpacked anew where nothing stands on it: a mount that has it would lose its files."""
    row = changed.row
    text = f"its files have {changed.size} bytes, {row.size} were unpacked"

    def layers_of(connection: sqlite3.Connection) -> tuple[Sequence[ImageLayer], set[Digest]]:
        used = {one.chain_id for snapshot in catalog.snapshots(connection) if snapshot.parent
                for one in _upto(connection, snapshot.parent)}
        return catalog.known_layers(connection, row.chain_id), used

    chain, used = await state.store.read(layers_of)
    if not repair:
        return finding("LAYER_CHANGED", row.chain_id, text, False)
    if row.chain_id in used:
        return finding("LAYER_CHANGED", row.chain_id, f"{text}; it is in use: remove what stands on it first", False)
    if not chain or not await state.files.run(state.blobs.has, chain[-1].blob):
        return finding("LAYER_CHANGED", row.chain_id, f"{text}; its blob is not here to unpack again", False)
    async with state.locks.hold(f"layer:{row.chain_id}"):
        await state.store.write("fsck.forget_layer", lambda connection: catalog.drop_layer(connection, row.chain_id))
        await state.files.run(state.layers.bin, state.layers.path(row.chain_id))
    state.operations.spawn("trash", lambda: state.files.run(state.layers.empty_trash))
    return await _unpacked("LAYER_CHANGED", state, chain, text)


def _upto(connection: sqlite3.Connection, top: str) -> list[catalog.LayerRow]:
    """The layers from ``top`` down, as far as they are known."""
    found = []
    while top and (row := catalog.layer(connection, top)) is not None:
        found.append(row)
        top = row.parent
    return found


async def _lacking(state: State, repair: bool) -> list[system_pb2.Finding]:
    """Layers that images and snapshots name, and that nobody has unpacked."""
    def lacking(connection: sqlite3.Connection) -> dict[Digest, Sequence[ImageLayer]]:
        known = {row.chain_id for row in catalog.layers(connection)}
        chains = [row.body.layers for row in catalog.all_images(connection)]
        chains += [list(row.layers) for row in catalog.snapshots(connection)]
        return {layer.chain_id: chain[:index] for chain in chains for index, layer in enumerate(chain, start=1)
                if layer.chain_id not in known}

    async with state.gate.sweeping() as pinned:
        found = await state.store.read(lacking)
    text = "a layer that is referred to is not unpacked"
    return [
        await _unpacked("IMAGE_WITHOUT_LAYER", state, chain, text) if repair
        else finding("IMAGE_WITHOUT_LAYER", chain_id, text, False)
        for chain_id, chain in sorted(found.items()) if chain_id not in pinned]


async def _unpacked(reason: str, state: State, chain: Sequence[ImageLayer], text: str) -> system_pb2.Finding:
    try:
        await heal.layers(state, chain)
    except PierError as error:
        return finding(reason, chain[-1].chain_id, f"{text}; not unpacked again: {error.message}", False)
    return finding(reason, chain[-1].chain_id, f"{text}; unpacked again", True)


async def _parent_of(state: State, key: str) -> str:
    row = await state.store.read(lambda connection: catalog.snapshot(connection, key))
    return row.parent if row is not None else ""
