"""imaged's snapshots as a build uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from buildd.state import State
from chassis.errors import Aborted, NotFound
from chassis.events import timestamp
from chassis.ids import new_id
from chassis.tar import Entry, Writer
from pier.image.v1 import image_pb2 as pb
from pier.types.v1 import types_pb2

LONG: Final = 3600.0
"""Seconds for what reads or writes files of a client's: they may be a whole disk."""
_PIECE: Final = 256 << 10


@dataclass(frozen=True)
class Ground:
    """What a step stands on: the cache key of the step below, and the committed snapshot that it made.

    ``snapshot`` and ``chain_id`` are "" where there are no files yet."""

    key: str
    snapshot: str = ""
    chain_id: str = ""


SCRATCH: Final = Ground("scratch")


def owner(state: State, namespace: str, id_: str) -> types_pb2.Owner:
    return types_pb2.Owner(manager=state.services.manager, namespace=namespace, id=id_)


@asynccontextmanager
async def writable(
    state: State, namespace: str, ground: Ground, key: str = "", image: str = ""
) -> AsyncIterator[str]:
    """The key of a new writable snapshot over ``ground``, or over an image; it is gone afterwards, unless committed."""
    key = key or new_id()
    request = pb.PrepareSnapshotRequest(key=key, owner=owner(state, namespace, key))
    if image:
        request.image = image
    elif ground.snapshot:
        request.snapshot = ground.snapshot
    try:
        await prepared(state, request, ground)
        yield key
    finally:
        state.see_to(f"drop:{key}", lambda: drop(state, key))


async def prepared(state: State, request: pb.PrepareSnapshotRequest, ground: Ground) -> pb.Snapshot:
    """Aborted (CACHE_LOST) where ``ground`` is not at imaged any more."""
    try:
        answer: pb.PrepareSnapshotResponse = await state.services.imaged.call(
            state.services.snapshots.PrepareSnapshot, request)
    except NotFound as error:
        if not ground.snapshot or request.image:
            raise
        raise lost(ground.snapshot) from error
    return answer.snapshot


def lost(snapshot: str) -> Aborted:
    """A record's snapshot is gone: the step has to be carried out again."""
    return Aborted(f"what a build step has made is gone: snapshot {snapshot}", reason="CACHE_LOST",
                   facts={"snapshot": snapshot})


async def commit(
    state: State, key: str, name: str, mount_points: Iterable[bytes] = (), clamp_ns: int | None = None
) -> pb.CommitSnapshotResponse:
    """Make the writable snapshot ``key`` the committed one ``name``."""
    answer: pb.CommitSnapshotResponse = await state.services.imaged.call(
        state.services.snapshots.CommitSnapshot,
        pb.CommitSnapshotRequest(
            key=key, name=name, mount_points=list(mount_points),
            clamp=None if clamp_ns is None else timestamp(clamp_ns),
        ),
        timeout=LONG,
    )
    return answer


async def drop(state: State, key: str) -> None:
    """Take a snapshot away, committed or not; nothing where it is not there."""
    await state.services.imaged.call(state.services.snapshots.RemoveSnapshot, pb.RemoveSnapshotRequest(key=key))


async def committed(state: State, name: str) -> pb.Snapshot | None:
    """The committed snapshot ``name``; None where there is none."""
    try:
        answer: pb.GetSnapshotResponse = await state.services.imaged.call(
            state.services.snapshots.GetSnapshot, pb.GetSnapshotRequest(key=name))
    except NotFound:
        return None
    return answer.snapshot if answer.snapshot.committed else None


async def apply(state: State, key: str, data: AsyncIterator[bytes], *, momentary: bool = True) -> None:
    """Unpack a tar, in which no name hides anything, into the writable snapshot ``key``, which is ``momentary`` where
    it ends with the build at the latest."""

    async def requests() -> AsyncIterator[pb.ApplyRequest]:
        yield pb.ApplyRequest(key=key, momentary=momentary, plain=True)
        async for piece in data:
            yield pb.ApplyRequest(data=piece)

    await state.services.imaged.call(state.services.snapshots.Apply, requests(), timeout=LONG)


async def unpacked(
    state: State, stack: AsyncExitStack, namespace: str, data: AsyncIterator[bytes], pour: str = ""
) -> str:
    """The key of a snapshot that holds what a tar does: one in ``data``, or what is offered under the word ``pour``. It
    ends with ``stack``."""
    key = new_id()

    async def requests() -> AsyncIterator[pb.ApplyRequest]:
        yield pb.ApplyRequest(key=key, momentary=True, plain=True, owner=owner(state, namespace, key), pour=pour)
        if not pour:
            async for piece in data:
                yield pb.ApplyRequest(data=piece)

    stack.callback(state.see_to, f"drop:{key}", lambda: drop(state, key))
    await state.services.imaged.call(state.services.snapshots.Apply, requests(), timeout=LONG)
    return key


async def put_files(
    state: State, key: str, files: Sequence[tuple[Entry, bytes]], *, momentary: bool = True
) -> None:
    """Write small files into the writable snapshot ``key``."""
    parts: list[bytes] = []
    writer = Writer(parts.append)
    for entry, content in files:
        writer.add(entry, [content])
    writer.close()

    async def pieces() -> AsyncIterator[bytes]:
        data = b"".join(parts)
        for at in range(0, len(data), _PIECE):
            yield data[at:at + _PIECE]

    await apply(state, key, pieces(), momentary=momentary)


async def hash_of(state: State, files: pb.FileSelection, *, parents: bool = False) -> pb.HashResponse:
    answer: pb.HashResponse = await state.services.imaged.call(
        state.services.snapshots.Hash, pb.HashRequest(files=files, parents=parents), timeout=LONG)
    return answer


async def copy(state: State, request: pb.CopyFilesRequest) -> pb.CopyFilesResponse:
    answer: pb.CopyFilesResponse = await state.services.imaged.call(
        state.services.snapshots.CopyFiles, request, timeout=LONG)
    return answer


async def upper(state: State, key: str) -> bytes:
    """The directory where changes of the writable snapshot ``key`` land."""
    answer: pb.GetSnapshotResponse = await state.services.imaged.call(
        state.services.snapshots.GetSnapshot, pb.GetSnapshotRequest(key=key))
    return answer.snapshot.upper


async def read_file(state: State, key: str, path: str, limit: int) -> bytes:
    """A small regular file. NotFound; InvalidArgument where it is longer than ``limit`` bytes, or no file."""
    answer: pb.ReadFileResponse = await state.services.imaged.call(
        state.services.snapshots.ReadFile,
        pb.ReadFileRequest(key=key, path=path.encode("utf-8", "surrogateescape"), limit=limit))
    return answer.data


async def make_directory(state: State, key: str, path: str, chown: str) -> None:
    await state.services.imaged.call(
        state.services.snapshots.MakeDirectory,
        pb.MakeDirectoryRequest(key=key, path=path.encode("utf-8", "surrogateescape"), chown=chown))
