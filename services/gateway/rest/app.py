"""The Engine API's server: versions, routes, errors and headers, for every module's handlers alike."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import hdrs, web
from prometheus_client import Counter, Gauge, Histogram

from chassis import context, stages
from chassis.caller import Caller, caller
from chassis.errors import Internal, NotFound, PermissionDenied, PierError
from chassis.guard import Guard, Visit
from chassis.logs import logger
from gateway.engine import Engine
from gateway.projection import stale_since
from gateway.rest import browsers, effects, errors, subjects, versions
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
    """Serves ``tables`` over one engine. Give it to a ``web.ServerRunner``. Without a guard whoever reaches it may do
    everything, and nothing is told of it."""

    def __init__(self, engine: Engine, tables: Iterable[Routes], guard: Guard | None = None) -> None:
        # A handler whose client went is cancelled; what changes anything is the coordinator's operation and goes on.
        super().__init__(self._serve, handler_cancellation=True)
        self._engine = engine
        self._guard = guard
        self._routes: list[Route] = [route for table in tables for route in table.entries]

    def __call__(self) -> Handler:
        return self.handler_of(None)

    def handler_of(self, who: Caller | None) -> Handler:
        """For a connection of ``who``; None for whoever is found behind its unix socket."""
        return Handler(self, who, loop=self._loop, access_log=None, keepalive_timeout=_KEEP_ALIVE)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        context.adopt(request.headers.get("X-Request-Id"), request.headers.get("traceparent"))
        if isinstance(request.protocol, Handler):
            caller.set(request.protocol.caller)
        began, label = time.perf_counter(), _UNKNOWN
        visit: Visit | None = None
        result = "CLIENT_LEFT"
        code = "499"  # the client went
        HTTP_IN_FLIGHT.inc()
        try:
            if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0
            try:
                browsers.check(request.headers, caller.get())
                version, path = versions.split(request.rel_url.raw_path)
                found = match(self._routes, request.method, path)
                if found is None:
                    raise NotFound("page not found", reason="NO_ROUTE")
                route, variables = found
                label = route.pattern
                call = Call(request, self._engine, version, variables, Query(request.rel_url.query))
                stale_since.set(0.0)
                visit = None if self._guard is None else _arrive(self._guard, route, call)
                response = await self._handled(route, call)
                result = "OK"
            except Exception as error:  # noqa: BLE001 - the border: whatever it is becomes an answer
                known = self._known(request, error)
                response, result = errors.response(known), known.reason
            code = str(response.status)
            if not response.prepared:
                response.headers.update(_standing(response))
                if when := stale_since.get():
                    response.headers["X-Pier-Stale-Since"] = datetime.fromtimestamp(when, UTC).isoformat()
            return response
        finally:
            if visit is not None:
                visit.ended(result)
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

    def _known(self, request: web.BaseRequest, error: Exception) -> PierError:
        """What the client is told of ``error``."""
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
        return first


def _standing(response: web.StreamResponse) -> dict[str, Any]:
    return {key: value for key, value in standing_headers().items() if key not in response.headers}


def _arrive(guard: Guard, route: Route, call: Call) -> Visit:
    """Who may not make the call is refused, and that is told. PermissionDenied."""
    visit = Visit(guard, f"{route.method} {route.pattern}", caller.get())
    if effects.is_open(route.pattern):
        return visit
    changes = effects.changes(route.method, route.pattern, call.query)
    if changes:
        visit.arguments = effects.arguments(call.query)
    try:
        visit.admit(changes=changes, subject=effects.subject(call.path, call.query))
    except PermissionDenied as error:
        visit.ended(error.reason, refused=True)
        raise
    return visit
