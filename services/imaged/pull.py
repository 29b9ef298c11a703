"""Pull: an image from its registry.

Manifest (or index, and from it the manifest of the platform), config, then all layers at once; the image is recorded
last, in one transaction. Broken off anywhere, what is here already is not fetched again.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from chassis.errors import DataLoss, InvalidArgument, Unimplemented
from chassis.ids import Digest
from chassis.ids import key as check_key
from chassis.ids import namespace as check_namespace
from chassis.stages import stage
from imaged import catalog, images, manifest, platform, reference, registries
from imaged.catalog import Ref
from imaged.download import Downloads
from imaged.install import bring_blobs, install, wanted_layers
from imaged.state import State
from imaged.unbroken import cancelled
from pier.image.v1 import image_pb2 as pb

if TYPE_CHECKING:
    from imaged.registry import Document
    from imaged.registry_mirrors import Sources

_EVERY: Final = 0.1  # seconds between two reports of one layer's progress


@dataclass(frozen=True)
class _Target:
    """What a pull found: the document that the reference stands for, and the image's manifest."""

    top: Document
    document: Document
    descriptor: manifest.Descriptor
    manifest: manifest.Manifest


class Pull:
    """One pull. ``run`` yields its messages; closing it ends the pull."""

    def __init__(self, state: State, request: pb.PullRequest) -> None:
        self._state = state
        self._namespace = check_namespace(request.namespace)
        self._named = reference.parse(request.reference).with_default_tag()
        self._platform = (
            images.check_platform(request.platform) if request.HasField("platform") else platform.host())
        self._lease = check_key(request.lease, "lease") if request.lease else ""
        self._auth = request.auth
        self._messages: asyncio.Queue[pb.PullResponse | None] = asyncio.Queue()
        self._reported: dict[str, tuple[int, float]] = {}

    async def run(self) -> AsyncIterator[pb.PullResponse]:
        """The pull's messages, as the contract says."""
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
        await state.store.read(lambda connection: catalog.check_lease(connection, self._lease))
        async with registries.pulling(state, self._named.domain, self._auth) as client:
            await self._pull(client)

    async def _pull(self, client: Sources) -> None:
        async with stage("pull.manifest", reference=self._named.familiar):
            target = await self._find(client)
        self._messages.put_nowait(pb.PullResponse(begin=pb.PullBegin(
            reference=self._named.canonical, familiar=self._named.familiar,
            manifest=_descriptor(target.descriptor), layers=[_descriptor(layer) for layer in target.manifest.layers],
        )))
        config_digest = target.manifest.config.checked
        documents = {target.top.digest: target.top.raw, target.document.digest: target.document.raw}
        blobs = [layer.checked for layer in target.manifest.layers]
        async with self._state.gate.pinned([config_digest, *documents, *blobs]):
            async with stage("pull.config", digest=config_digest):
                raw = await self._config(client, target.manifest.config)
            config = manifest.parse_config(raw, len(blobs))
            _check_platform(config)
            await self._install(client, target, config, config_digest, documents)

    async def _install(
        self, client: Sources, target: _Target, config: manifest.ImageConfig, config_digest: Digest,
        documents: dict[Digest, bytes],
    ) -> None:
        state = self._state
        chain = manifest.chain_ids(config.diff_ids)
        sizes = [(layer.checked, layer.size) for layer in target.manifest.layers]
        turn = asyncio.Semaphore(state.settings.downloads)
        wanted = wanted_layers(
            config.diff_ids, chain, sizes, Downloads(state, client, self._named, turn, self._report))
        async with state.gate.pinned(chain):
            fetched = await install(state, "pull", wanted, self._report)
            async with stage("pull.documents"):
                for content in documents.values():
                    await state.files.run(state.blobs.put, content)
            row = images.row_of(
                self._namespace, config, config_digest, target.descriptor, target.manifest.layers, list(documents))
            refs = [Ref(self._named.canonical, row.id, target.top.digest)]
            if self._named.tag:
                refs.append(Ref(
                    replace(self._named, tag=None, digest=target.top.digest).canonical, row.id, target.top.digest))
            row = await images.with_blobs_here(state, row)
            if lost := await images.lost_layers(state, row):
                # Their layers were unpacked all the same, so that nothing of them was fetched above.
                await bring_blobs(state, "pull", [one for one in wanted if one.blob in lost], self._report)
                fetched = True
            async with state.gate.pinned(images.digests_of(row)):
                up_to_date = await self._record(row, refs, list(chain), fetched)
        image = await images.message(state, row)
        self._messages.put_nowait(pb.PullResponse(
            end=pb.PullEnd(image=image, digest=target.top.digest, up_to_date=up_to_date)))

    async def _record(self, row: catalog.ImageRow, refs: list[Ref], chain: list[str], fetched: bool) -> bool:
        state = self._state

        def write(connection: sqlite3.Connection) -> bool:
            before = catalog.ref(connection, row.namespace, refs[0].reference)
            known = before is not None and before.image_id == row.id and before.target == refs[0].target
            if not known or fetched:
                images.record(state, connection, row, refs, "pull", self._named.familiar)
            catalog.keep(connection, self._lease, "blob", list(images.digests_of(row)))
            catalog.keep(connection, self._lease, "layer", chain)
            return known and not fetched

        return await state.store.write("pull.record", write)

    async def _find(self, client: Sources) -> _Target:
        wanted = self._named.digest or self._named.tag or reference.DEFAULT_TAG
        top = await client.manifest(self._named, wanted)
        found = manifest.parse(top.raw, top.media_type)
        if isinstance(found, manifest.Manifest):
            return _Target(top, top, _own_descriptor(top), found)
        descriptor = manifest.select(found, self._platform)
        document = await client.manifest(self._named, descriptor.checked)
        inner = manifest.parse(document.raw, descriptor.media_type)
        if not isinstance(inner, manifest.Manifest) or len(document.raw) != descriptor.size:
            raise InvalidArgument("index: what it names as a manifest is not one", reason="BAD_MANIFEST")
        return _Target(top, document, descriptor, inner)

    async def _config(self, client: Sources, descriptor: manifest.Descriptor) -> bytes:
        state = self._state
        digest = descriptor.checked
        if await state.files.run(state.blobs.has, digest):
            return await state.files.run(state.blobs.read, digest, manifest.CONFIG_MAX)
        raw = await client.small_blob(self._named, digest, descriptor.size)
        if await state.files.run(state.blobs.put, raw) != digest:
            raise DataLoss(f"config {digest} changed on its way", reason="DIGEST_MISMATCH")
        return raw

    def _report(self, progress: pb.LayerProgress) -> None:
        """Queue a layer's progress: each change of phase, and within one at most ten a second."""
        now = time.monotonic()
        phase, when = self._reported.get(progress.digest, (0, 0.0))
        if progress.phase != phase or now - when >= _EVERY:
            self._reported[progress.digest] = (progress.phase, now)
            self._messages.put_nowait(pb.PullResponse(layer=progress))


def _own_descriptor(document: Document) -> manifest.Descriptor:
    media_type = document.media_type.partition(";")[0].strip()
    if media_type not in manifest.MANIFESTS:
        media_type = manifest.OCI_MANIFEST
    return manifest.Descriptor(media_type, document.digest, len(document.raw))


def _descriptor(descriptor: manifest.Descriptor) -> pb.Descriptor:
    return pb.Descriptor(media_type=descriptor.media_type, digest=descriptor.digest, size=descriptor.size)


def _check_platform(config: manifest.ImageConfig) -> None:
    if config.platform.os != "linux":
        raise Unimplemented(f"image: it is for {config.platform}, which cannot run here", reason="PLATFORM")

