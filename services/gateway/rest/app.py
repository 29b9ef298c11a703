"""The Engine API's server: versions, routes, errors and headers, for every module's handlers alike."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import hdrs, web
from prometheus_client import Counter, Gauge, Histogram

from chassis import context, stages
from chassis.errors import Internal, NotFound
from chassis.logs import logger
from gateway.engine import Engine
from gateway.projection import stale_since
from gateway.rest import errors, subjects, versions
from gateway.rest.call import Call, Query, standing_headers
from gateway.rest.protocol import Handler
from gateway.rest.routes import Route, Routes, match

_UNKNOWN: Final = "(unknown)"
_KEEP_ALIVE: Final = 600.0

HTTP_SECONDS: Final = Histogram(
    "pier_http_request_duration_seconds", "Time from a request's head to its answer's end.", ["method", "route", "code"]
)
HTTP_IN_FLIGHT: Final = Gauge("pier_http_requests_in_flight", "Requests being served, streams among them.")
HTTP_FAILURES: Final = Counter("pier_http_failures_total", "Requests that failed by a fault of the engine's own.")


class Face(web.Server):
    """Serves ``tables`` over one engine. Give it to a ``web.ServerRunner``."""

    def __init__(self, engine: Engine, tables: Iterable[Routes]) -> None:
        # A handler whose client went is cancelled; what changes anything is the coordinator's operation and goes on.
        super().__init__(self._serve, handler_cancellation=True)
        self._engine = engine
        self._routes: list[Route] = [route for table in tables for route in table.entries]

    def __call__(self) -> Handler:
        return Handler(self, loop=self._loop, access_log=None, keepalive_timeout=_KEEP_ALIVE)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        context.adopt(request.headers.get("X-Request-Id"), request.headers.get("traceparent"))
        began, label = time.perf_counter(), _UNKNOWN
        code = "499"  # the client went
        HTTP_IN_FLIGHT.inc()
        try:
            if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0
            try:
                version, path = versions.split(request.rel_url.raw_path)
                found = match(self._routes, request.method, path)
                if found is None:
                    raise NotFound("page not found", reason="NO_ROUTE")
                route, variables = found
                label = route.pattern
                call = Call(request, self._engine, version, variables, Query(request.rel_url.query))
                stale_since.set(0.0)
                response = await self._handled(route, call)
            except Exception as error:  # noqa: BLE001 - the border: whatever it is becomes an answer
                response = self._failed(request, error)
            code = str(response.status)
            if not response.prepared:
                response.headers.update(_standing(response))
                if known := stale_since.get():
                    response.headers["X-Pier-Stale-Since"] = datetime.fromtimestamp(known, UTC).isoformat()
            return response
        finally:
            HTTP_IN_FLIGHT.dec()
            HTTP_SECONDS.labels(request.method, label, code).observe(time.perf_counter() - began)

    async def _handled(self, route: Route, call: Call) -> web.StreamResponse:
        """The handler's answer; its trace is kept for ``pier explain``."""
        facts = {**subjects.of(route.pattern, call), "request": context.request_id.get()}
        if parent := context.traceparent.get():
            facts["traceparent"] = parent
        root: stages.Node | None = None
        try:
            with stages.trace(f"{route.method} {route.pattern}", **facts) as root:
                return await route.handler(call)
        finally:
            if root is not None:
                self._engine.recent.keep(route.method, route.pattern, root)

    def _failed(self, request: web.BaseRequest, error: Exception) -> web.StreamResponse:
        known = errors.members(error)
        if not known:
            HTTP_FAILURES.inc()
            logger().error("request failed", method=request.method, path=request.path, exc_info=error)
            known = [Internal(f"{type(error).__name__}: {error}")]
        first = known[0]
        if len(known) > 1:
            first.message = "; ".join(each.message for each in known)
        logger().info(
            "refused", method=request.method, path=request.path, reason=first.reason, error=first.message
        )
        return errors.response(first)


def _standing(response: web.StreamResponse) -> dict[str, Any]:
    return {key: value for key, value in standing_headers().items() if key not in response.headers}
