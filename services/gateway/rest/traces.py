"""Pier's own: where the time of a container's operations went, for ``pier explain``."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.rest import wire
from gateway.rest.call import Call
from gateway.rest.find import read_container
from gateway.rest.routes import Routes
from pier.exec.v1 import exec_pb2
from pier.types.v1 import types_pb2

routes = Routes()


@routes.get("/containers/{name}/traces")
async def traces(call: Call) -> web.StreamResponse:
    """The span trees that are kept with the container, newest first."""
    container = await read_container(call, call.path["name"])
    services = call.engine.services
    answer: exec_pb2.ListTracesResponse = await services.execd.call(
        services.containers.ListTraces, exec_pb2.ListTracesRequest(id=container.id), timeout=5
    )
    return call.json([_span(root) for root in answer.roots])


def _span(span: types_pb2.Span) -> dict[str, Any]:
    return {
        "name": span.name, "service": span.service, "start": wire.rfc3339(span.start, fixed=True),
        "durationNs": span.duration.ToNanoseconds(), "facts": dict(span.facts), "error": span.error,
        "children": [_span(child) for child in span.children],
    }
