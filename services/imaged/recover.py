"""After a crash, and for fsck (fsck.py): what the catalogue says against the directories that there are, both ways.

Every act of imaged ends with a rename or with a record, so an interruption leaves few things: a layer half filled, a
layer or a snapshot's directories without a record, an ingest. None of them is ever what a caller was promised.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chassis import store
from chassis.logs import logger
from chassis.stages import stage
from imaged import catalog, commit_snapshot, volumes
from imaged.layers import name_of
from imaged.state import State
from pier.system.v1 import system_pb2
from pier.types.v1 import types_pb2

_UNDER_WAY: Final = ("prepare", "remove", "commit")


@dataclass(frozen=True)
class _Records:
    layers: list[catalog.LayerRow]
    snapshots: list[catalog.SnapshotRow]
    volumes: set[tuple[str, str]]


def _records(connection: sqlite3.Connection) -> _Records:
    return _Records(catalog.layers(connection), catalog.snapshots(connection),
                    {(row.namespace, row.name) for row in volumes.rows(connection)})


async def recover(state: State) -> None:
    """Undo what was broken off. Nothing else runs yet, and no worker of an earlier life lives any more."""
    async with stage("recover.layers"):
        half = await state.files.run(state.layers.recover)
    async with stage("recover.snapshots"):
        await state.files.run(state.rootfs.recover)
    for intent in await state.store.read(store.unfinished):
        if intent.verb == volumes.REMOVE:
            await volumes.finish_removal(state, intent)
        elif intent.verb == commit_snapshot.VERB:
            await commit_snapshot.finish(state, intent)
    findings = await check(state, repair=True)
    if half or findings:
        logger().warning("recovered", half_filled=half, findings=[finding.reason for finding in findings])


async def check(state: State, *, repair: bool) -> list[system_pb2.Finding]:
    """What differs. ``repair`` undoes what can be undone without taking anything that is in use."""
    # While this holds the gate nothing new is begun; what is under way is pinned and passed over.
    async with state.gate.sweeping() as pinned:
        records = await state.store.read(_records)
        return [
            *await _layers(state, records, pinned, repair),
            *await _snapshots(state, records, repair),
            *await _volumes(state, records, repair),
        ]


async def _layers(
    state: State, records: _Records, pinned: frozenset[str], repair: bool
) -> list[system_pb2.Finding]:
    there = await state.files.run(state.layers.names)
    known = {name_of(row.chain_id): row for row in records.layers}
    being_made = {name.removeprefix("sha256:")[:32] for name in pinned}
    found = []
    for name in sorted(there - set(known) - being_made):
        if repair:
            await state.files.run(state.layers.remove_named, name)
        found.append(finding("LAYER_WITHOUT_RECORD", name, "an unpacked layer that nothing knows", repair))
    for name in sorted(set(known) - there):
        row = known[name]
        if repair:
            async with stage("recover.forget_layer", chain_id=row.chain_id):
                await state.store.write("recover.record", _forget(row))
        found.append(finding("RECORD_WITHOUT_LAYER", row.chain_id, "a layer's directory is gone", repair))
    return found


def _forget(row: catalog.LayerRow) -> Callable[[sqlite3.Connection], None]:
    return lambda connection: catalog.drop_layer(connection, row.chain_id)


async def _snapshots(state: State, records: _Records, repair: bool) -> list[system_pb2.Finding]:
    there = await state.files.run(state.rootfs.names)
    rows = {row.key: row for row in records.snapshots}
    found = []
    for key in sorted(there - set(rows)):
        if any(state.operations.is_running(f"{verb}:{key}") for verb in _UNDER_WAY):
            continue
        if repair:
            await state.files.run(state.rootfs.bin, key)
        found.append(finding("DIRECTORY_WITHOUT_SNAPSHOT", key, "directories of a snapshot that is gone", repair))
    for key, row in rows.items():
        if state.operations.is_running(f"commit:{key}"):
            continue
        if row.writable and not await state.files.run(state.rootfs.has, key):
            if repair:
                await state.files.run(state.rootfs.make, key)
            found.append(finding(
                "SNAPSHOT_WITHOUT_DIRECTORY", key, "a snapshot's writable directories are gone", repair, row))
    chains = {row.chain_id for row in records.layers}
    for key, row in rows.items():
        if row.parent and row.parent not in chains:
            found.append(finding("SNAPSHOT_WITHOUT_LAYER", key, f"its layer {row.parent} is gone", False, row))
    return found


async def _volumes(state: State, records: _Records, repair: bool) -> list[system_pb2.Finding]:
    """What people keep in volumes is never thrown away for want of a record: only an empty one is."""
    found = []
    there = await state.files.run(volumes.directories, state)
    for namespace, name in sorted(there - records.volumes):
        if state.operations.is_running(f"volume:{namespace}/{name}"):
            continue
        emptied = repair and await state.files.run(volumes.drop_if_empty, state, namespace, name)
        found.append(finding(
            "VOLUME_WITHOUT_RECORD", f"{namespace}/{name}", "a volume's directory that nothing knows", emptied))
    for namespace, name in sorted(records.volumes - there):
        if repair:
            await state.files.run(volumes.make_directory, state, namespace, name)
        found.append(finding("RECORD_WITHOUT_VOLUME", f"{namespace}/{name}", "a volume's directory is gone", repair))
    return found


def finding(
    reason: str, subject: str, text: str, repaired: bool, row: catalog.SnapshotRow | None = None
) -> system_pb2.Finding:
    """A difference, of the owner of the snapshot ``row`` where there is one."""
    made = system_pb2.Finding(reason=reason, subject=subject, message=text, repaired=repaired)
    if row is not None:
        made.owner.CopyFrom(types_pb2.Owner(manager=row.manager, namespace=row.namespace, id=row.owner_id))
    return made
