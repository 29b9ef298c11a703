"""What a snapshot has changed or shows, streamed from the program of imaged.diff; of a committed one, from its blob."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any, Final

from chassis import programs
from chassis.compression import Decompressor
from chassis.errors import InvalidArgument, Unimplemented
from chassis.ids import Digest
from chassis.stages import stage
from chassis.tar import END
from imaged import snapshots
from imaged.blobs import BlobStore
from imaged.catalog import SnapshotRow
from imaged.helpers.helpers import Helper
from imaged.snapshots import commit_made_layer
from imaged.state import State
from imaged.unbroken import unbroken
from pier.image.v1 import image_pb2 as pb

_KINDS: Final = {
    "A": pb.CHANGE_KIND_ADDED, "C": pb.CHANGE_KIND_MODIFIED, "D": pb.CHANGE_KIND_DELETED,
}
_BATCH: Final = 500


@dataclass(frozen=True)
class Settled:
    """A layer whose tar is written: the sum of its files' sizes, and how many entries it has."""

    size: int
    changes: int


async def changes(state: State, request: pb.ChangesRequest) -> AsyncGenerator[list[pb.Change]]:
    """The snapshot's changes in batches."""
    batch: list[pb.Change] = []
    verb = _running(state, "changes", request.key, request.mount_points)
    async with stage("changes.walk", key=request.key), verb as process:
        while line := await process.stdout.readline():
            kind, path = json.loads(line)
            batch.append(pb.Change(kind=_KINDS[kind], path=b"/" + os.fsencode(path)))
            if len(batch) >= _BATCH:
                yield batch
                batch = []
        await programs.finished(process, "changes")
    yield batch


async def layer(state: State, key: str, mount_points: Sequence[bytes]) -> AsyncGenerator[bytes]:
    """The layer tar of what the snapshot has changed."""
    async with _running(state, "layer", key, mount_points) as process:
        async for part in _output(process):
            yield part
        await programs.finished(process, "diff")


async def difference(state: State, request: pb.DiffRequest) -> AsyncGenerator[bytes]:
    """The layer tar between a snapshot and its parent. InvalidArgument (READ_ONLY) for a view, which is no more than
    its parent."""
    row = await snapshots.need(state, request.upper, "upper")
    if request.lower:
        lower = await snapshots.need(state, request.lower, "lower")
        if not (lower.committed and row.writable and row.parent == lower.parent):
            raise Unimplemented("diff: only a snapshot and its parent can be compared yet", reason="NOT_BUILT",
                                field="lower", expected='"", or the committed snapshot that `upper` stands on')
    tar = _committed(state, row) if row.committed else layer(state, row.key, request.mount_points)
    async with aclosing(tar) as parts:
        async for part in parts:
            yield part


async def _committed(state: State, row: SnapshotRow) -> AsyncGenerator[bytes]:
    """The tar of the layer that a commit made, as it is in its blob."""
    if not commit_made_layer(row):
        yield END
        return
    digest = row.layers[-1].blob
    async with state.gate.pinned([digest]):
        pieces = _plain(state.blobs, digest)
        with closing(pieces):
            while (piece := await unbroken(state.files.run(next, pieces, None))) is not None:
                yield piece


def _plain(blobs: BlobStore, digest: Digest) -> Generator[bytes, None, None]:
    with os.fdopen(blobs.open(digest), "rb") as file:
        yield from Decompressor(iter(lambda: file.read(programs.PIECE), b""))


async def settle(
    state: State, key: str, mount_points: Sequence[bytes], clamp_ns: int | None,
    take: Callable[[bytes], Awaitable[object]],
) -> Settled:
    """Give the layer tar of a snapshot to ``take`` piece by piece, and leave its upper directory as that layer's."""
    async with _running(state, "settle", key, mount_points, clamp_ns=clamp_ns) as process:
        async for part in _output(process):
            await take(part)
        told = await programs.result(process, "commit")
    return Settled(int(told["size"]), int(told["changes"]))


async def export(state: State, key: str) -> AsyncGenerator[bytes]:
    """A tar of all that the snapshot shows."""
    async with _running(state, "export", key) as process:
        async for part in _output(process):
            yield part
        await programs.finished(process, "export")


async def _output(process: Helper) -> AsyncIterator[bytes]:
    while part := await process.stdout.read(programs.PIECE):
        yield part


@asynccontextmanager
async def _running(
    state: State, verb: str, key: str, mount_points: Sequence[bytes] = (), **more: Any
) -> AsyncIterator[Helper]:
    """The program at work. Whoever removes the snapshot meanwhile does not wait: what was read is worth nothing."""
    snapshot = await snapshots.need(state, key)
    if not snapshot.writable and verb != "export":
        raise InvalidArgument(f"snapshot {key} is not writable: it has changed nothing", reason="READ_ONLY",
                              field="key")
    lowers, options = await snapshots.lowers(state, key)
    request: dict[str, Any] = {
        "verb": verb, "upper": str(state.rootfs.upper(key)) if snapshot.writable else "",
        "lowers": [str(path) for path in lowers], "options": options, "place": str(state.volumes),
        "empty": str(state.rootfs.empty), "mount_points": [os.fsdecode(path) for path in mount_points], **more,
    }
    async with state.helpers.running("diff", request) as process:
        yield process
    await snapshots.need(state, key)
