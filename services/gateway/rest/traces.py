"""Pier's own: where the time of operations went, for ``pier explain``.

`GET /containers/{name}/traces`: the trees that are kept with a container, newest first.
`GET /traces`: the gateway's own of its last requests, newest first; `subject=NAME` those about a container, an image, a
network or a volume; `slowest=N` the N that took longest, the longest first.
A tree is `{"name", "service", "start", "durationNs", "facts", "error", "children"}`.
"""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from gateway.rest import wire
from gateway.rest.call import Call
from gateway.rest.errors import bad
from gateway.rest.find import read_container
from gateway.rest.routes import Routes
from pier.exec.v1 import exec_pb2
from pier.types.v1 import types_pb2

routes = Routes()

_SLOWEST_MAX: Final = 500


@routes.get("/containers/{name}/traces")
async def traces(call: Call) -> web.StreamResponse:
    container = await read_container(call, call.path["name"])
    services = call.engine.services
    answer: exec_pb2.ListTracesResponse = await services.execd.call(
        services.containers.ListTraces, exec_pb2.ListTracesRequest(id=container.id), timeout=5
    )
    return call.json([_span(root) for root in answer.roots])


@routes.get("/traces")
async def recent(call: Call) -> web.StreamResponse:
    """200, the empty list where nothing is remembered."""
    count = call.query.integer("slowest")
    if count is not None and not 0 < count <= _SLOWEST_MAX:
        raise bad(f"slowest: {count} is not between 1 and {_SLOWEST_MAX}", field="slowest")
    kept = call.engine.recent
    found = kept.slowest(count) if count else kept.newest(call.query.text("subject"))
    return call.json([_span(root) for root in found])


def _span(span: types_pb2.Span) -> dict[str, Any]:
    return {
        "name": span.name, "service": span.service, "start": wire.rfc3339(span.start, fixed=True),
        "durationNs": span.duration.ToNanoseconds(), "facts": dict(span.facts), "error": span.error,
        "children": [_span(child) for child in span.children],
    }
