"""Push: an image to its registry.

Blobs that are there are not sent again, and those that another of its repositories has are taken over from there; the
manifest goes last, byte for byte as it came, so that its digest stays what it was.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from chassis.errors import NotFound
from chassis.ids import Digest
from chassis.ids import namespace as check_namespace
from chassis.stages import stage
from imaged import catalog, images, manifest, reference, registries
from imaged.state import State
from imaged.unbroken import acquire, cancelled, unbroken
from pier.image.v1 import image_pb2 as pb

if TYPE_CHECKING:
    from imaged.registry_push import Uploader

_PIECE: Final = 512 << 10
_SOURCES: Final = 3
"""Repositories of which a blob is asked before it is sent."""
_EVERY: Final = 4 << 20
"""Bytes between two reports of one layer's progress."""


class Push:
    """One push. ``run`` yields its messages; closing it ends the push."""

    def __init__(self, state: State, request: pb.PushRequest) -> None:
        self._state = state
        self._namespace = check_namespace(request.namespace)
        self._named = reference.parse(request.reference).with_default_tag()
        self._auth = request.auth
        self._messages: asyncio.Queue[pb.PushResponse | None] = asyncio.Queue()

    async def run(self) -> AsyncIterator[pb.PushResponse]:
        """The push's messages, as the contract says."""
        task = asyncio.create_task(self._run())
        task.add_done_callback(lambda _: self._messages.put_nowait(None))
        try:
            while (message := await self._messages.get()) is not None:
                yield message
            await task
        finally:
            await cancelled(task)

    async def _run(self) -> None:
        state = self._state
        ref = await state.store.read(
            lambda connection: catalog.ref(connection, self._namespace, self._named.canonical))
        if ref is None:
            raise NotFound(f"An image does not exist locally with the tag: {self._named.familiar_name}",
                           reason="NO_SUCH_IMAGE", field="reference")
        row, _ = await state.store.read(
            lambda connection: images.resolve(connection, self._namespace, self._named.canonical))
        layers = list(dict.fromkeys((layer.blob, layer.blob_size) for layer in row.body.layers))
        async with registries.connected(state, self._named.domain, self._auth) as client:
            async with state.gate.pinned([row.id, row.body.manifest, *(blob for blob, _ in layers)]):
                await self._push(client, row, layers)

    async def _push(
        self, client: Uploader, row: catalog.ImageRow, layers: list[tuple[Digest, int]]
    ) -> None:
        turn = asyncio.Semaphore(self._state.settings.downloads)

        async def one(blob: Digest, size: int) -> None:
            async with turn:
                await self._blob(client, blob, size)

        async with stage("push.layers", count=len(layers)):
            try:
                async with asyncio.TaskGroup() as group:
                    for blob, size in layers:
                        self._tell(blob, pb.LAYER_PHASE_WAITING)
                        group.create_task(one(blob, size))
            except ExceptionGroup as failed:  # the first ended the others
                raise failed.exceptions[0] from failed
        state = self._state
        await self._need(row.id, "the configuration of")
        await self._need(row.body.manifest, "the manifest of")
        async with stage("push.config", digest=row.id):
            size = (await state.files.run(state.blobs.path(row.id).stat)).st_size
            if not await client.has_blob(self._named, row.id):
                await client.put_blob(
                    self._named, row.id, size, lambda offset, length: self._pieces(row.id, 0, offset, length))
        async with stage("push.manifest", digest=row.body.manifest):
            raw = await state.files.run(state.blobs.read, row.body.manifest, manifest.MANIFEST_MAX)
            await client.put_manifest(self._named, raw, row.body.manifest_type)
        self._messages.put_nowait(pb.PushResponse(manifest=pb.Descriptor(
            media_type=row.body.manifest_type, digest=row.body.manifest, size=len(raw))))

    async def _blob(self, client: Uploader, blob: Digest, size: int) -> None:
        async with stage("push.blob", digest=blob) as step:
            if await client.has_blob(self._named, blob):
                step.note(found=True)
                self._tell(blob, pb.LAYER_PHASE_EXISTS)
                return
            sources = await self._state.store.read(lambda connection: self._elsewhere(connection, blob))
            if sources and await client.mount_blob(self._named, blob, sources):
                step.note(mounted=True)
                self._tell(blob, pb.LAYER_PHASE_MOUNTED)
                return
            await self._need(blob, "a layer of")
            await client.put_blob(
                self._named, blob, size, lambda offset, length: self._pieces(blob, size, offset, length))
        self._tell(blob, pb.LAYER_PHASE_DONE, size, size)

    async def _need(self, digest: Digest, what: str) -> None:
        if not await self._state.files.run(self._state.blobs.has, digest):
            raise images.lost(digest, f"{what} {self._named.familiar}")

    def _elsewhere(self, connection: sqlite3.Connection, blob: Digest) -> list[str]:
        """Other repositories of the same registry that may have the blob: those that images here are called by."""
        found: dict[str, None] = {}
        for row in catalog.all_images(connection):
            if row.namespace != self._namespace or all(layer.blob != blob for layer in row.body.layers):
                continue
            for ref in catalog.refs_of(connection, row.namespace, row.id):
                other = reference.parse_canonical(ref.reference)
                if other.domain == self._named.domain and other.path != self._named.path:
                    found[other.path] = None
        return list(found)[:_SOURCES]

    async def _pieces(self, blob: Digest, size: int, offset: int, length: int) -> AsyncIterator[bytes]:
        """``length`` bytes from ``offset`` on; progress is told where ``size``, the whole, is given."""
        state = self._state
        fd = await acquire(state.files, lambda: state.blobs.open(blob), os.close)
        position = told = offset
        try:
            while piece := await unbroken(
                state.files.run(os.pread, fd, min(_PIECE, offset + length - position), position)
            ):
                yield piece
                position += len(piece)
                if size and (position - told >= _EVERY or not told):
                    told = position
                    self._tell(blob, pb.LAYER_PHASE_UPLOADING, position, size)
        finally:
            os.close(fd)

    def _tell(self, blob: Digest, phase: pb.LayerPhase.ValueType, current: int = 0, total: int = 0) -> None:
        self._messages.put_nowait(pb.PushResponse(
            layer=pb.LayerProgress(digest=blob, phase=phase, current=current, total=total)))
