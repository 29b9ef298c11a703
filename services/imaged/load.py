"""Load: images from an archive, as ``docker save`` or an OCI tool wrote it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing

from chassis.compression import Caps
from chassis.errors import Aborted
from chassis.ids import Digest
from chassis.ids import namespace as check_namespace
from chassis.stages import stage
from imaged import archive, catalog, images, manifest
from imaged.archive import Contents, LoadedImage
from imaged.bridge import Incoming
from imaged.catalog import Ref
from imaged.early import Early
from imaged.install import install, wanted_layers
from imaged.state import State
from imaged.unbroken import cancelled, unbroken
from pier.image.v1 import image_pb2 as pb


async def load(
    state: State, namespace: str, data: AsyncIterator[bytes]
) -> AsyncIterator[pb.LoadResponse]:
    """The messages of a load, as the contract says; what of the archive no image wants is dropped at its end."""
    namespace = check_namespace(namespace)
    loop = asyncio.get_running_loop()
    early = Early(state, loop)
    async with aclosing(early):
        async with stage("load.archive"):
            caps = Caps(output=state.settings.layer_max_bytes, ratio=state.settings.layer_max_ratio)
            # The stream fails for the thread as well when its call is gone; it is seen to end even so.
            async with aclosing(Incoming(data)) as incoming:
                contents = await unbroken(state.streams.run(
                    archive.store, state.blobs, incoming.chunks(), caps, early.offer))
        async with aclosing(_installed(state, namespace, contents, early)) as messages:
            async for message in messages:
                yield message


async def _installed(
    state: State, namespace: str, contents: Contents, early: Early
) -> AsyncGenerator[pb.LoadResponse]:
    kept: set[Digest] = set()
    try:
        async with state.gate.pinned(set(contents.files.values())):
            if not await state.files.run(_whole, state, contents):
                raise Aborted("load: a part of the archive was swept while it came in; try again", reason="SWEPT")
            async with stage("load.documents"):
                found = await state.streams.run(archive.read, state.blobs, contents)
            async with state.gate.pinned([digest for one in found for digest in one.documents]):
                for one in found:
                    messages: asyncio.Queue[pb.LoadResponse | None] = asyncio.Queue()
                    task = asyncio.create_task(_install(state, namespace, one, messages, early))
                    task.add_done_callback(_closer(messages))
                    try:
                        while (message := await messages.get()) is not None:
                            yield message
                        kept.update(images.digests_of(await task))
                    finally:
                        await cancelled(task)
    finally:
        await unbroken(_drop(state, contents, kept))


def _whole(state: State, contents: Contents) -> bool:
    """Whether all blobs are still there: only now are they pinned."""
    return all(state.blobs.has(digest) for digest in contents.files.values())


def _closer(messages: asyncio.Queue[pb.LoadResponse | None]) -> Callable[[object], None]:
    return lambda _: messages.put_nowait(None)


async def _install(
    state: State, namespace: str, one: LoadedImage, messages: asyncio.Queue[pb.LoadResponse | None], early: Early
) -> catalog.ImageRow:
    chain = manifest.chain_ids(one.config.diff_ids)
    blobs = [(layer.checked, layer.size) for layer in one.layers]

    def report(progress: pb.LayerProgress) -> None:
        messages.put_nowait(pb.LoadResponse(layer=progress))

    async with state.gate.pinned([*chain, *(digest for digest, _ in blobs), one.config_digest]):
        await install(state, "load", wanted_layers(one.config.diff_ids, chain, blobs, early=early.take), report)
        row = images.row_of(namespace, one.config, one.config_digest, one.descriptor, one.layers, one.documents)
        refs = [Ref(named.canonical, row.id, row.body.manifest) for named in one.references]
        name = one.references[0].familiar if one.references else row.id
        await state.store.write(
            "load.record", lambda connection: images.record(state, connection, row, refs, "load", name))
    messages.put_nowait(pb.LoadResponse(
        image=await images.message(state, row), familiar=[named.familiar for named in one.references]))
    return row


async def _drop(state: State, contents: Contents, kept: Sequence[Digest] | set[Digest]) -> None:
    """Remove what this load alone brought and no image wants: tables, and everything of a load that failed."""
    wanted = await state.store.read(
        lambda connection: {digest for row in catalog.all_images(connection) for digest in images.digests_of(row)})
    async with state.gate.sweeping() as pinned:
        for digest in contents.new - set(kept) - wanted - pinned:
            await state.files.run(state.blobs.remove, digest)
