"""Garbage collection: mark from the catalogue, sweep what is left. No reference counts.

Layers are marked and their records dropped in one transaction, so that a snapshot either finds its layers or does not;
pins keep what is being made. Directories go to the trash under the gate and are deleted outside it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass

from chassis.ids import Digest
from chassis.stages import stage
from imaged import catalog, images
from imaged.catalog import ImageRow
from imaged.state import State


@dataclass(frozen=True)
class Swept:
    """How much went. ``bytes`` counts blobs' sizes and layers' files."""

    blobs: int
    layers: int
    bytes: int


def marked_layers(connection: sqlite3.Connection) -> set[str]:
    """Chain ids that images, snapshots and leases need, with all below them."""
    wanted = catalog.kept(connection, "layer")
    wanted |= {layer.chain_id for row in catalog.all_images(connection) for layer in row.body.layers}
    wanted |= {row.parent for row in catalog.snapshots(connection) if row.parent}
    parents = {row.chain_id: row.parent for row in catalog.layers(connection)}
    marked: set[str] = set()
    for top in wanted:
        chain_id = top
        while chain_id and chain_id not in marked:
            marked.add(chain_id)
            chain_id = parents.get(Digest(chain_id), "")
    return marked


def marked_blobs(connection: sqlite3.Connection) -> set[str]:
    """Digests that images, snapshots (to be committed and pushed) and leases need."""
    wanted = catalog.kept(connection, "blob")
    wanted |= {layer.blob for row in catalog.snapshots(connection) for layer in row.layers}
    return wanted | {digest for row in catalog.all_images(connection) for digest in images.digests_of(row)}


async def collect(state: State, grace: float) -> Swept:
    """Sweep everything that nothing refers to; blobs and unfinished downloads only when ``grace`` seconds old."""
    now = time.time()
    await state.store.write("gc.leases", lambda connection: catalog.expire_leases(connection, time.time_ns()))
    async with state.gate.sweeping() as pinned:
        layers = await _sweep_layers(state, None, pinned)
        candidates = await state.files.run(lambda: list(state.blobs))
        blobs, freed = await _sweep_blobs(state, candidates, pinned, now - grace)
    freed += await state.files.run(state.blobs.sweep_ingests, now - grace)
    await state.files.run(state.layers.empty_trash)
    return Swept(blobs, len(layers), freed + sum(row.size for row in layers))


async def sweep_image(state: State, row: ImageRow) -> list[Digest]:
    """Sweep what a deleted image alone needed; the chain ids that went, topmost first, as Docker lists them."""
    chain = [layer.chain_id for layer in row.body.layers]
    async with state.gate.sweeping() as pinned:
        swept = {layer.chain_id for layer in await _sweep_layers(state, chain, pinned)}
        await _sweep_blobs(state, images.digests_of(row), pinned, float("inf"))
    state.operations.spawn("trash", lambda: state.files.run(state.layers.empty_trash))
    return [chain_id for chain_id in reversed(chain) if chain_id in swept]


async def _sweep_layers(
    state: State, among: Iterable[Digest] | None, pinned: frozenset[str]
) -> list[catalog.LayerRow]:
    candidates = None if among is None else set(among)

    def drop(connection: sqlite3.Connection) -> list[catalog.LayerRow]:
        marked = marked_layers(connection) | pinned
        gone = [
            row for row in catalog.layers(connection)
            if row.chain_id not in marked and (candidates is None or row.chain_id in candidates)
        ]
        for row in gone:
            catalog.drop_layer(connection, row.chain_id)
        return gone

    gone = await state.store.write("gc.layers", drop)
    async with stage("gc.layer_directories", layers=len(gone)):
        for row in gone:
            await state.files.run(state.layers.bin, state.layers.path(row.chain_id))
    return gone


async def _sweep_blobs(
    state: State, candidates: Iterable[Digest], pinned: frozenset[str], older_than: float
) -> tuple[int, int]:
    marked = await state.store.read(marked_blobs)
    count = freed = 0
    async with stage("gc.blobs"):
        for digest in candidates:
            if digest in marked or digest in pinned:
                continue
            if await state.files.run(state.blobs.modified, digest) >= older_than:
                continue
            freed += await state.files.run(state.blobs.remove, digest)
            count += 1
        for digest in await state.files.run(lambda: list(state.blobs.quarantine)):
            if digest not in marked and digest not in pinned:
                freed += await state.files.run(state.blobs.quarantine.drop, digest)
    return count, freed
