"""buildd's records as Docker shows a build cache: rows of the disk's usage, and prune."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final

from aiohttp import web

from chassis.client import READ_TIMEOUT
from chassis.events import timestamp
from coordinator.listing import pages
from gateway.engine import Engine
from gateway.rest import image_filters, wire
from gateway.rest.call import Call
from gateway.rest.errors import bad
from gateway.rest.routes import Routes
from gateway.rest.versions import Version
from pier.build.v1 import build_pb2 as pb

routes: Final = Routes()

_PRUNE: Final = 3600.0
_FILTERS: Final = ("until", "id", "type", "description", "label")
_KEEP_STORAGE_UNTIL: Final = Version(1, 52)


async def rows(engine: Engine) -> list[dict[str, Any]]:
    """All records, most recently used first."""
    found = await engine.projection.read("build-cache", lambda deadline: _records(engine, deadline))
    return [_row(record) for record in found]


@routes.post("/build/prune")
async def prune(call: Call) -> web.StreamResponse:
    """Takes away what no running build uses; a record is never shared with an image: its layers stay as long as the
    image needs them, so that `all` has nothing to add."""
    filters = call.filters(*_FILTERS)
    if "label" in filters:
        return call.json({"CachesDeleted": None, "SpaceReclaimed": 0})  # no record has labels
    query = call.query
    keys = ("reserved-space", "keep-storage") if call.version < _KEEP_STORAGE_UNTIL else ("reserved-space",)
    keep = max(query.integer(key) or 0 for key in keys)
    for key in ("max-used-space", "min-free-space"):
        if query.integer(key):
            raise bad(f"{key}: not supported: reserved-space is", field=key, expected="reserved-space")
    request = pb.PruneRecordsRequest(
        keep_bytes=max(keep, 0), cache_keys=filters.get("id"), types=filters.get("type"),
        description=next(iter(filters.get("description")), ""),
    )
    if moments := [image_filters.moment(text) for text in filters.get("until")]:
        request.unused_since.CopyFrom(timestamp(max(min(*moments, int(time.time())), 0) * 10**9))
    engine = call.engine
    answer: pb.PruneRecordsResponse = await engine.buildd.call(engine.builds.PruneRecords, request, _PRUNE)
    return call.json({"CachesDeleted": list(answer.cache_keys) or None, "SpaceReclaimed": answer.freed_bytes})


async def _records(engine: Engine, deadline: float) -> list[pb.Record]:
    call = partial(engine.buildd.call, engine.builds.ListRecords, timeout=max(deadline, READ_TIMEOUT))
    return [each async for each in pages(call, pb.ListRecordsRequest, "records")]


def _row(record: pb.Record) -> dict[str, Any]:
    return {
        "ID": record.cache_key, "Parents": [record.parent] if record.parent else [], "Type": record.type,
        "Description": record.description, "InUse": record.in_use, "Shared": False, "Size": record.size,
        "CreatedAt": wire.rfc3339(record.created_at), "LastUsedAt": wire.rfc3339(record.used_at),
        "UsageCount": record.uses,
    }
