"""Brings back blobs that are lost, from where their images came from, and layers, from their blobs.

The origins of an image are the repositories by which it has a reference with a digest: a pull records one. Whoever asks
there is nobody in particular: credentials are a caller's and are kept nowhere.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace

from chassis.errors import DataLoss, PierError
from chassis.ids import Digest
from chassis.stages import stage
from imaged import archive, catalog, images, manifest, reference, registries
from imaged.catalog import ImageLayer, ImageRow
from imaged.download import Downloads
from imaged.install import bring_blobs, install, wanted_layers
from imaged.reference import Reference
from imaged.state import State
from pier.image.v1 import image_pb2 as pb


async def blob(state: State, digest: Digest, wanting: Sequence[ImageRow]) -> None:
    """See that a blob which the images ``wanting`` refer to is here again. PierError: why it could not be had."""
    failure: PierError = DataLoss("no registry is known that has it", reason="NO_ORIGIN")
    async with state.gate.pinned([digest]):
        for row in wanting:
            if await _made_again(state, digest, row):
                return
            for origin in await _origins(state, row):
                try:
                    async with stage("fsck.bring_blob", digest=digest, origin=origin.familiar_name):
                        await _bring(state, digest, row, origin)
                except PierError as error:
                    failure = error
                else:
                    return
    raise failure


async def layers(state: State, chain: Sequence[ImageLayer]) -> None:
    """See that the layers, bottom first, are unpacked; their blobs are here or DataLoss."""
    wanted = wanted_layers(
        [layer.diff_id for layer in chain], [layer.chain_id for layer in chain],
        [(layer.blob, layer.blob_size) for layer in chain])
    async with state.gate.pinned([name for layer in chain for name in (layer.chain_id, layer.blob)]):
        await install(state, "fsck", wanted, lambda _: None)


async def _origins(state: State, row: ImageRow) -> list[Reference]:
    refs = await state.store.read(lambda connection: catalog.refs_of(connection, row.namespace, row.id))
    named = [reference.parse_canonical(ref.reference) for ref in refs if ref.is_digest]
    return list(dict.fromkeys(replace(one, tag=None, digest=None) for one in named))


async def _made_again(state: State, digest: Digest, row: ImageRow) -> bool:
    """A manifest of our own making is made once more: the same blobs give the same bytes."""
    if digest != row.body.manifest or not await state.files.run(state.blobs.has, row.id):
        return False
    size = await state.files.run(state.blobs.size, row.id)
    raw = archive.manifest_of(row.id, size, [
        manifest.Descriptor(layer.media_type, layer.blob, layer.blob_size) for layer in row.body.layers])
    if "sha256:" + hashlib.sha256(raw).hexdigest() != digest:
        return False
    await state.files.run(state.blobs.put, raw)
    return True


async def _bring(state: State, digest: Digest, row: ImageRow, origin: Reference) -> None:
    async with registries.pulling(state, origin.domain, pb.RegistryAuth()) as client:
        if digest == row.id:
            document = manifest.parse((await client.manifest(origin, row.body.manifest)).raw)
            if not isinstance(document, manifest.Manifest) or document.config.digest != digest:
                raise DataLoss(f"the manifest {row.body.manifest} names another configuration", reason="NO_BLOB")
            raw = await client.small_blob(origin, digest, document.config.size)
            await state.files.run(state.blobs.put, raw)
        elif digest in (row.body.manifest, *row.body.blobs):
            await state.files.run(state.blobs.put, (await client.manifest(origin, digest)).raw)
        else:
            source = Downloads(state, client, origin, asyncio.Semaphore(1), lambda _: None)
            wanted = wanted_layers(
                [layer.diff_id for layer in row.body.layers], [layer.chain_id for layer in row.body.layers],
                [(layer.blob, layer.blob_size) for layer in row.body.layers], source)
            await bring_blobs(state, "fsck", [one for one in wanted if one.blob == digest][:1], lambda _: None)


def wanting(rows: Sequence[ImageRow], digest: Digest) -> list[ImageRow]:
    """The images that refer to a blob."""
    return [row for row in rows if digest in images.digests_of(row)]
