"""Apply: a layer tar onto a writable snapshot that nothing has mounted, all of it or nothing.

The tar is unpacked as a layer's is, into a directory of its own. One that hides nothing takes the place of an upper
directory that is empty as it is; else the two are made one beside it, and that takes the place. Where the snapshot is
momentary the tar itself is never on the disk: it is poured into the process that unpacks it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial

from chassis import pours
from chassis.errors import InvalidArgument, PierError
from chassis.ids import key as check_key
from chassis.ids import new_id
from chassis.stages import stage
from imaged import one_layer, snapshot_files, snapshots
from imaged.blobs import Ingest
from imaged.bridge import pass_over
from imaged.layers import Filling
from imaged.state import State
from imaged.unbroken import acquire, cancelled, unbroken
from imaged.unpack.worker import Unpacked
from pier.image.v1 import image_pb2 as pb

Unpack = Callable[[State, Filling, AsyncIterator[bytes], bool], Awaitable[Unpacked]]
"""The last: whether names that begin with ".wh." are names as others."""


async def apply(state: State, first: pb.ApplyRequest, data: AsyncIterator[bytes]) -> pb.ApplyResponse:
    """As the ``first`` message asks for. NotFound (NO_SNAPSHOT), InvalidArgument (READ_ONLY, BAD_ARCHIVE, …),
    ResourceExhausted (NO_SPACE), Unavailable (NO_OFFER)."""
    key = check_key(first.key)
    if first.pour and not first.momentary:
        raise InvalidArgument("pour: only what is momentary is poured", reason="BAD_FIELD", field="pour")
    unpack = partial(_taken, first.pour) if first.pour else _sent if first.momentary else _stored
    try:
        if not first.HasField("owner"):
            await snapshot_files.writable(state, key)
            return await _apply(state, key, unpack, data, plain=first.plain)
        preparing = asyncio.create_task(snapshots.prepare(
            state, pb.PrepareSnapshotRequest(key=key, owner=first.owner), writable=True))
        try:
            return await _apply(state, key, unpack, data, preparing, plain=first.plain)
        finally:
            await cancelled(preparing)
    except PierError:
        await pass_over(data)
        raise


async def _apply(
    state: State, key: str, unpack: Unpack, data: AsyncIterator[bytes],
    preparing: asyncio.Task[pb.Snapshot] | None = None, *, plain: bool,
) -> pb.ApplyResponse:
    """``preparing``: the snapshot is there when it has ended; meanwhile the tar is unpacked."""
    filling = await acquire(state.files, state.layers.begin, state.layers.discard)
    kept = [filling]
    try:
        async with stage("apply.unpack", key=key) as step:
            unpacked = await unpack(state, filling, data, plain)
            step.note(entries=unpacked.entries, bytes=unpacked.size)
        if preparing is not None:
            await preparing
        await unbroken(_put(state, key, kept, unpacked))
    finally:
        if kept:
            await unbroken(state.files.run(state.layers.discard, filling))
    return pb.ApplyResponse(diff_id=unpacked.diff_id, size=unpacked.size)


async def _stored(state: State, filling: Filling, data: AsyncIterator[bytes], plain: bool) -> Unpacked:
    ingest = await acquire(state.files, lambda: state.blobs.ingest(f"apply-{new_id()}"), Ingest.abort)
    try:
        return await one_layer.stream(state, ingest, filling, data, plain=plain)
    finally:
        await unbroken(state.files.run(ingest.abort))


async def _taken(word: str, state: State, filling: Filling, _: AsyncIterator[bytes], plain: bool) -> Unpacked:
    """Nothing of the tar passes through here: the worker reads what somebody else writes."""
    stream = await pours.take(state.pours, word, "pour")
    with stream.dup() as ours:
        unpacking = asyncio.create_task(state.unpacker.pour(stream, filling.fd, plain=plain))
        try:
            return await asyncio.shield(unpacking)
        finally:
            with suppress(OSError):
                ours.shutdown(socket.SHUT_RDWR)
            await cancelled(unpacking)
            stream.close()


async def _sent(state: State, filling: Filling, data: AsyncIterator[bytes], plain: bool) -> Unpacked:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    unpacking = asyncio.create_task(state.unpacker.pour(theirs, filling.fd, plain=plain))
    try:
        with suppress(BrokenPipeError):  # it has ended, and says why
            async for part in data:
                await loop.sock_sendall(ours, part)
        ours.close()
        return await unpacking
    finally:
        ours.close()
        await cancelled(unpacking)
        theirs.close()


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
