"""What a snapshot has changed or shows, streamed from the program of imaged.diff."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chassis import programs
from chassis.errors import InvalidArgument, Unimplemented
from chassis.stages import stage
from imaged import snapshots
from imaged.state import State
from pier.image.v1 import image_pb2 as pb

if TYPE_CHECKING:
    from asyncio.subprocess import Process

_PROGRAM: Final = Path(__file__).parent / "diff" / "__main__.py"
_KINDS: Final = {
    "A": pb.CHANGE_KIND_ADDED, "C": pb.CHANGE_KIND_MODIFIED, "D": pb.CHANGE_KIND_DELETED,
}
_BATCH: Final = 500


async def changes(state: State, request: pb.ChangesRequest) -> AsyncGenerator[list[pb.Change]]:
    """The snapshot's changes in batches."""
    batch: list[pb.Change] = []
    verb = _running(state, "changes", request.key, request.mount_points)
    async with stage("changes.walk", key=request.key), verb as process:
        assert process.stdout is not None
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
        async for part in _output(process, "diff"):
            yield part


async def export(state: State, key: str) -> AsyncGenerator[bytes]:
    """A tar of all that the snapshot shows."""
    async with _running(state, "export", key) as process:
        async for part in _output(process, "export"):
            yield part


def check_diff(request: pb.DiffRequest) -> str:
    """The key of the one snapshot that is compared with its parent."""
    if request.lower:
        raise Unimplemented("diff: only a snapshot and its parent can be compared yet", reason="NOT_BUILT",
                            field="lower", expected='""')
    return request.upper


async def _output(process: Process, what: str) -> AsyncIterator[bytes]:
    assert process.stdout is not None
    while part := await process.stdout.read(programs.PIECE):
        yield part
    await programs.finished(process, what)


@asynccontextmanager
async def _running(
    state: State, verb: str, key: str, mount_points: Sequence[bytes] = ()
) -> AsyncIterator[Process]:
    """The program at work. Whoever removes the snapshot meanwhile does not wait: what was read is worth nothing."""
    snapshot = await snapshots.get(state, key)
    if not snapshot.writable:
        raise InvalidArgument(f"snapshot {key} is not writable: it has changed nothing", reason="READ_ONLY",
                              field="key")
    lowers, options = await snapshots.lowers(state, key)
    request: dict[str, Any] = {
        "verb": verb, "upper": str(state.rootfs.upper(key)), "lowers": [str(path) for path in lowers],
        "options": options, "place": str(state.rootfs.volumes), "empty": str(state.rootfs.empty),
        "mount_points": [os.fsdecode(path) for path in mount_points],
    }
    async with programs.running(_PROGRAM, request) as process:
        yield process
    await snapshots.get(state, key)
