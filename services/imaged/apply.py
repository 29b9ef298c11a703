"""Apply: a layer tar onto a writable snapshot that nothing has mounted, all of it or nothing.

The tar is unpacked as a layer's is, into a directory of its own. One that hides nothing takes the place of an upper
directory that is empty as it is; else the two are made one beside it, and that takes the place.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from chassis.errors import PierError
from chassis.ids import key as check_key
from chassis.ids import new_id
from chassis.stages import stage
from imaged import one_layer, snapshot_files
from imaged.blobs import Ingest
from imaged.bridge import pass_over
from imaged.layers import Filling
from imaged.state import State
from imaged.unbroken import acquire, unbroken
from imaged.unpack.worker import Unpacked
from pier.image.v1 import image_pb2 as pb


async def apply(
    state: State, key: str, data: AsyncIterator[bytes], *, plain: bool = False
) -> pb.ApplyResponse:
    """NotFound (NO_SNAPSHOT), InvalidArgument (READ_ONLY, BAD_ARCHIVE, …), ResourceExhausted (NO_SPACE)."""
    key = check_key(key)
    try:
        return await _apply(state, key, data, plain)
    except PierError:
        await pass_over(data)
        raise


async def _apply(state: State, key: str, data: AsyncIterator[bytes], plain: bool) -> pb.ApplyResponse:
    await snapshot_files.writable(state, key)
    filling = await acquire(state.files, state.layers.begin, state.layers.discard)
    kept = [filling]
    try:
        ingest = await acquire(state.files, lambda: state.blobs.ingest(f"apply-{new_id()}"), Ingest.abort)
        try:
            async with stage("apply.unpack", key=key) as step:
                unpacked = await one_layer.stream(state, ingest, filling, data, plain=plain)
                step.note(entries=unpacked.entries, bytes=unpacked.size)
        finally:
            await unbroken(state.files.run(ingest.abort))
        await unbroken(_put(state, key, kept, unpacked))
    finally:
        if kept:
            await unbroken(state.files.run(state.layers.discard, filling))
    return pb.ApplyResponse(diff_id=unpacked.diff_id, size=unpacked.size)


async def _put(state: State, key: str, kept: list[Filling], unpacked: Unpacked) -> None:
    """Let what was unpacked become part of the snapshot. It is taken out of ``kept`` where it is used up."""
    (filling,) = kept
    if not unpacked.whiteouts:
        async with state.locks.hold(f"snapshot:{key}"):
            await snapshot_files.writable(state, key)
            if await state.files.run(state.rootfs.is_empty, key):
                async with stage("apply.rename", key=key):
                    kept.clear()
                    await state.files.run(_exchange, state, key, filling)
                return
    await snapshot_files.change(state, "merge", key, {
        "source": None, "layer": str(filling.path), "hides_all": unpacked.opaque_root})


def _exchange(state: State, key: str, filling: Filling) -> None:
    os.close(filling.fd)
    try:
        state.rootfs.replace(key, filling.path)
    except BaseException:
        state.layers.bin(filling.path)
        raise
