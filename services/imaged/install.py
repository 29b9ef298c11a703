"""Puts an image's layers in place: each is downloaded, verified, decompressed and unpacked at the same time.

The layers of an image do not wait for one another: a layer's directory holds what it changes alone, and its name, the
chain id, follows from the config. Pull, Load and Import differ only in where a layer's bytes come from (``Source``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from chassis.compression import Caps, Decompressor
from chassis.errors import DataLoss
from chassis.ids import Digest
from chassis.stages import stage
from imaged import catalog
from imaged.blobs import Ingest
from imaged.early import Ready
from imaged.layers import Filling
from imaged.state import State
from imaged.unbroken import acquire, cancelled, unbroken
from imaged.unpack.unpacker import Feed
from imaged.unpack.worker import Unpacked
from pier.image.v1 import image_pb2 as pb

Report = Callable[[pb.LayerProgress], None]
_PIECE: Final = 512 << 10


class Source(Protocol):
    """Brings a blob: writes it to ``ingest`` from its offset on, tells ``there`` how far it is after each piece."""

    def __call__(self, ingest: Ingest, there: Callable[[int], None]) -> Awaitable[None]: ...


@dataclass(frozen=True)
class Wanted:
    """A layer to put in place. ``parent`` is the chain id below it, "" at the bottom. ``early`` gives what its blob is
    unpacked in already, if it is."""

    chain_id: Digest
    parent: str
    diff_id: Digest
    blob: Digest
    blob_size: int
    source: Source | None = None
    early: Callable[[Digest], Awaitable[Ready | None]] | None = None


def wanted_layers(
    diff_ids: Sequence[Digest], chain: Sequence[Digest], blobs: Sequence[tuple[Digest, int]],
    source: Callable[[Digest, int], Source] | None = None,
    early: Callable[[Digest], Awaitable[Ready | None]] | None = None,
) -> list[Wanted]:
    """Layers bottom first, from parallel lists."""
    return [
        Wanted(
            chain[index], chain[index - 1] if index else "", diff_id, blob, size,
            source(blob, size) if source is not None else None, early,
        )
        for index, (diff_id, (blob, size)) in enumerate(zip(diff_ids, blobs, strict=True))
    ]


async def install(state: State, verb: str, layers: Sequence[Wanted], report: Report) -> bool:
    """See that all ``layers`` are unpacked; whether any had to be. The first failure ends the others.

    The caller has pinned them. DataLoss where a layer is not what the config, or a blob not what the manifest says.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_layer(state, verb, wanted, report)) for wanted in layers]
    except BaseExceptionGroup as group_error:
        raise group_error.exceptions[0] from None
    return any(task.result() for task in tasks)


async def _layer(state: State, verb: str, wanted: Wanted, report: Report) -> bool:
    tell = _teller(wanted, report)
    # Waiting for who is about the same layer; a layer that is there answers at once.
    async with state.locks.hold(f"layer:{wanted.chain_id}"):
        if await is_installed(state, wanted.chain_id):
            tell(pb.LAYER_PHASE_EXISTS)
            return False
        tell(pb.LAYER_PHASE_WAITING)
        async with stage(f"{verb}.layer", chain_id=wanted.chain_id, bytes=wanted.blob_size):
            async with state.locks.hold(f"blob:{wanted.blob}"):
                await _fill(state, verb, wanted, tell)
        tell(pb.LAYER_PHASE_DONE)
        return True


async def bring_blobs(state: State, verb: str, layers: Sequence[Wanted], report: Report) -> None:
    """See that the blobs of ``layers``, which are unpacked already, are here too. The caller has pinned them.

    DataLoss where a blob is not what the manifest says, or is another layer's, or cannot be had.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for wanted in layers:
                group.create_task(_blob(state, verb, wanted, report))
    except BaseExceptionGroup as group_error:
        raise group_error.exceptions[0] from None


async def _blob(state: State, verb: str, wanted: Wanted, report: Report) -> None:
    tell = _teller(wanted, report)
    async with state.locks.hold(f"blob:{wanted.blob}"):
        if await state.files.run(state.blobs.has, wanted.blob):
            return
        if wanted.source is None:
            raise _no_blob(wanted)
        ingest = await acquire(state.files, lambda: state.blobs.ingest(wanted.blob), Ingest.close)
        try:
            await _download(state, verb, wanted, ingest, Feed(), _Phases(tell).downloaded)
        finally:
            await unbroken(state.files.run(ingest.close))
        async with stage(f"{verb}.blob_check", blob=wanted.blob):
            caps = Caps(state.settings.layer_max_bytes, state.settings.layer_max_ratio)
            found = await unbroken(state.streams.run(_diff_id, state, wanted.blob, caps))
        if found != wanted.diff_id:
            raise _other_layer(wanted, found)
    tell(pb.LAYER_PHASE_DONE)


def _diff_id(state: State, blob: Digest, caps: Caps) -> str:
    with open(state.blobs.open(blob), "rb", buffering=0) as file:
        decompressor = Decompressor(iter(lambda: file.read(_PIECE), b""), caps)
        for _ in decompressor:
            pass
    return decompressor.diff_id


def _teller(wanted: Wanted, report: Report) -> Callable[..., None]:
    def tell(phase: int, current: int = 0) -> None:
        report(pb.LayerProgress(
            digest=wanted.blob, phase=phase, current=current, total=wanted.blob_size))  # type: ignore[arg-type]

    return tell


def _no_blob(wanted: Wanted) -> DataLoss:
    return DataLoss(f"layer {wanted.chain_id}: its blob {wanted.blob} is not here", reason="NO_BLOB")


def _other_layer(wanted: Wanted, found: str) -> DataLoss:
    return DataLoss(f"layer {wanted.blob}: it unpacks to {found}, the image says {wanted.diff_id}",
                    reason="DIFF_ID_MISMATCH", expected=wanted.diff_id)


async def is_installed(state: State, chain_id: Digest) -> bool:
    """Whether the layer is unpacked: recorded, and on disk."""
    row = await state.store.read(lambda connection: catalog.layer(connection, chain_id))
    return row is not None and await state.files.run(state.layers.has, chain_id)


async def _fill(state: State, verb: str, wanted: Wanted, tell: Callable[..., None]) -> None:
    ready = await wanted.early(wanted.blob) if wanted.early is not None else None
    filling = ready.filling if ready else await acquire(state.files, state.layers.begin, state.layers.discard)
    published = False
    try:
        if ready is not None:
            unpacked = ready.unpacked
            tell(pb.LAYER_PHASE_EXTRACTING, wanted.blob_size)
        elif await state.files.run(state.blobs.has, wanted.blob):
            unpacked = await _unpack_stored(state, verb, wanted, filling.fd, tell)
        else:
            unpacked = await _unpack_coming(state, verb, wanted, filling.fd, tell)
        if unpacked.diff_id != wanted.diff_id:
            raise _other_layer(wanted, unpacked.diff_id)
        published = True
        await unbroken(_publish(state, verb, wanted, filling, unpacked))
    finally:
        if not published:
            await unbroken(state.files.run(state.layers.discard, filling))


async def _publish(state: State, verb: str, wanted: Wanted, filling: Filling, unpacked: Unpacked) -> None:
    async with stage(f"{verb}.layer_publish", chain_id=wanted.chain_id):
        await state.files.run(state.layers.publish, filling, wanted.chain_id)
    row = catalog.LayerRow(wanted.chain_id, wanted.diff_id, wanted.parent, unpacked.size, unpacked.opaque_root)
    await state.store.write(f"{verb}.layer_record", lambda connection: catalog.put_layer(connection, row))


async def _unpack_stored(
    state: State, verb: str, wanted: Wanted, directory: int, tell: Callable[..., None]
) -> Unpacked:
    blob = await acquire(state.files, lambda: state.blobs.open(wanted.blob), os.close)
    try:
        size = os.fstat(blob).st_size
        async with stage(f"{verb}.unpack", blob=wanted.blob, bytes=size):
            return await state.unpacker.unpack(
                blob, directory, Feed(size, whole=True), lambda done: tell(pb.LAYER_PHASE_EXTRACTING, done)
            )
    finally:
        os.close(blob)


async def _unpack_coming(
    state: State, verb: str, wanted: Wanted, directory: int, tell: Callable[..., None]
) -> Unpacked:
    """Download and unpack at once. A download that fails leaves its part for the next one to go on with."""
    if wanted.source is None:
        raise _no_blob(wanted)
    ingest = await acquire(state.files, lambda: state.blobs.ingest(wanted.blob), Ingest.close)
    reader = ingest.open_for_reading()
    try:
        feed = Feed(ingest.offset)
        progress = _Phases(tell)
        unpacking = asyncio.create_task(_unpacked(state, verb, wanted, reader, directory, feed, progress.unpacked))
        try:
            download = asyncio.create_task(_download(state, verb, wanted, ingest, feed, progress.downloaded))
            try:
                # A layer that cannot be unpacked is not worth the rest of its download.
                await asyncio.wait({download, unpacking}, return_when=asyncio.FIRST_EXCEPTION)
                if unpacking.done() and unpacking.exception() is not None and not download.done():
                    unpacking.result()
                await download
            finally:
                await cancelled(download)
            return await unpacking
        finally:
            await cancelled(unpacking)
    finally:
        os.close(reader)
        await unbroken(state.files.run(ingest.close))


class _Phases:
    """One layer's two progresses as Docker shows them: downloading until it is here, then extracting."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self._here = False

    def downloaded(self, there: int, whole: bool) -> None:
        self._here = whole
        self._tell(pb.LAYER_PHASE_DOWNLOADED if whole else pb.LAYER_PHASE_DOWNLOADING, there)

    def unpacked(self, done: int) -> None:
        if self._here:
            self._tell(pb.LAYER_PHASE_EXTRACTING, done)


async def _unpacked(
    state: State, verb: str, wanted: Wanted, reader: int, directory: int, feed: Feed, progress: Callable[[int], None]
) -> Unpacked:
    async with stage(f"{verb}.unpack", blob=wanted.blob, bytes=wanted.blob_size):
        return await state.unpacker.unpack(reader, directory, feed, progress)


async def _download(
    state: State, verb: str, wanted: Wanted, ingest: Ingest, feed: Feed, progress: Callable[[int, bool], None]
) -> None:
    assert wanted.source is not None

    def there(offset: int) -> None:
        feed.advance(offset)
        progress(offset, False)

    async with stage(f"{verb}.download", blob=wanted.blob, bytes=wanted.blob_size):
        await wanted.source(ingest, there)
    size = ingest.offset
    async with stage(f"{verb}.blob_commit", blob=wanted.blob):
        # The worker learns that all is there only when all is proven.
        await unbroken(state.files.run(ingest.commit, wanted.blob, wanted.blob_size))
    feed.advance(size, whole=True)
    progress(size, True)
