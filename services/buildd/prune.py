"""Records listed, and taken away with what imaged keeps for them alone."""

from __future__ import annotations

from contextlib import suppress

from buildd import records, snapshots
from buildd.records import Record
from buildd.state import State
from chassis.errors import PierError
from chassis.events import timestamp
from chassis.stages import stage
from pier.build.v1 import build_pb2 as pb
from pier.image.v1 import image_pb2


async def listing(state: State) -> list[pb.Record]:
    """Those that take room, most recently used first. Which changed the configuration alone are not shown."""
    found = [record for record in await state.store.read(records.everything) if record.type != records.CONFIG]
    return [_message(state, record, await _size(state, record)) for record in found]


async def prune(state: State, request: pb.PruneRecordsRequest) -> pb.PruneRecordsResponse:
    """Take away what matches and no running build uses."""
    answer = pb.PruneRecordsResponse()
    since = request.unused_since.ToNanoseconds() if request.HasField("unused_since") else None
    kept = 0
    for record in await state.store.read(records.everything):
        size = await _size(state, record)
        if not _matches(record, request) or state.in_use[record.key] or (since is not None and record.used_ns >= since):
            continue
        if request.keep_bytes and kept + size <= request.keep_bytes and record.type != records.CONFIG:
            kept += size
            continue
        async with stage("prune.record", key=record.key):
            await _take_away(state, record)
        if record.type != records.CONFIG:
            answer.cache_keys.append(record.key)
            answer.freed_bytes += size
    return answer


def _matches(record: Record, request: pb.PruneRecordsRequest) -> bool:
    if record.type == records.CONFIG:
        return not (request.cache_keys or request.types or request.description)
    return (
        (not request.cache_keys or any(record.key.startswith(key) for key in request.cache_keys))
        and (not request.types or record.type in request.types)
        and request.description in record.inputs.instruction
    )


async def _take_away(state: State, record: Record) -> None:
    """The record first: a snapshot without one is found at the next start."""
    await records.forget(state.store, record.key)
    if record.snapshot:
        await snapshots.drop(state, record.snapshot)


async def _size(state: State, record: Record) -> int:
    """A cache mount grows after its record was written."""
    if record.type != records.CACHE_MOUNT:
        return record.size
    with suppress(PierError):
        answer: image_pb2.SnapshotUsageResponse = await state.services.imaged.call(
            state.services.snapshots.SnapshotUsage, image_pb2.SnapshotUsageRequest(key=record.snapshot))
        return answer.bytes
    return 0


def _message(state: State, record: Record, size: int) -> pb.Record:
    return pb.Record(
        cache_key=record.key, parent=record.parent, description=record.inputs.instruction, size=size,
        created_at=timestamp(record.created_ns), used_at=timestamp(record.used_ns), uses=record.uses,
        in_use=bool(state.in_use[record.key]), type=record.type,
    )
