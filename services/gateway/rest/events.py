"""GET /events: the events of imaged, netd and execd as one stream, in Docker's form.

Pier's own: with ``cursor=1`` each event carries an opaque cursor, and ``after=CURSOR`` goes on exactly behind it. What
is not kept any more is told by an error object that ends the stream.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import Any, Final

from aiohttp import hdrs, web

from chassis.errors import PierError
from coordinator.services import NAMESPACE
from gateway.events import Merged
from gateway.rest import accepted, names, wire
from gateway.rest.call import Call
from gateway.rest.filters import Filters
from gateway.rest.routes import Routes
from gateway.rest.versions import Version
from pier.types.v1 import types_pb2

_FILTERS: Final = (
    "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret",
    "service", "type", "volume",
)
_PREFIXED: Final = ("health_status", "exec_create", "exec_start")
_IMAGE_CREATE_SINCE: Final = Version(1, 46)
_NO_LEGACY_SINCE: Final = Version(1, 52)
_SEQUENCE: Final = "application/json-seq"
_FORMS: Final = (
    ("application/jsonl", Version(1, 53)), ("application/x-ndjson", Version(1, 52)), (_SEQUENCE, Version(1, 52)),
)
"""Media types that a client may ask for, each since an API version."""
_RECORD: Final = b"\x1e"
"""What a record of a sequence begins with (RFC 7464)."""

routes = Routes()


@routes.get("/events")
async def events(call: Call) -> web.StreamResponse:
    """One JSON object a line. ``since`` replays what is kept; ``until`` in the past ends after the replay."""
    filters = call.filters(*_FILTERS)
    since, until = call.query.time_ns("since"), call.query.time_ns("until")
    form = accepted.best(call.http.headers.get(hdrs.ACCEPT, ""),
                         [name for name, first in _FORMS if call.version >= first], wire.JSON)
    began = time.time_ns()
    merged = Merged(call.engine.services, since if since is not None else began, call.query.text("after"))
    shown = _Shown(filters, form, call.version,
                   merged if call.query.boolean("cursor") or call.query.text("after") else None)
    response = await call.stream(form)
    call.engine.listeners.add(shown)
    try:
        if since is not None:
            async with aclosing(merged.kept(min(until or began, began))) as past:
                async for event in past:
                    await shown.send(response, event)
        if until is None or until > began:
            async with aclosing(merged.follow(until)) as following:
                async for event in following:
                    await shown.send(response, event)
    except PierError as error:
        await response.write(shown.encoded({
            "error": error.message, "errorDetail": {"code": error.http_status, "message": error.message}
        }))
    finally:
        call.engine.listeners.discard(shown)
    return response


class _Shown:
    """Which events go out, and how."""

    def __init__(self, filters: Filters, form: str, version: Version, merged: Merged | None) -> None:
        self._filters = filters
        self._version = version
        self._mark = _RECORD if form == _SEQUENCE else b""
        self._merged = merged

    async def send(self, response: web.StreamResponse, event: types_pb2.Event) -> None:
        if event.owner.namespace not in ("", NAMESPACE) or not _wanted(self._filters, event):
            return
        if self._version < _IMAGE_CREATE_SINCE and (event.type, event.action) == ("image", "create"):
            return
        shown = _docker(event, legacy=self._version < _NO_LEGACY_SINCE)
        if self._merged is not None:
            shown["cursor"] = self._merged.cursor()
        await response.write(self.encoded(shown))

    def encoded(self, value: dict[str, Any]) -> bytes:
        return self._mark + wire.encode(value)


def _docker(event: types_pb2.Event, *, legacy: bool) -> dict[str, Any]:
    nanoseconds = event.time.ToNanoseconds()
    shown: dict[str, Any] = {}
    if legacy and event.type in ("container", "image"):
        shown |= {"status": event.action, "id": event.id}
        if image := event.attributes.get("image"):
            shown["from"] = image
    return shown | {
        "Type": event.type, "Action": event.action, "Actor": {"ID": event.id, "Attributes": dict(event.attributes)},
        "scope": "local", "time": nanoseconds // 10**9, "timeNano": nanoseconds,
    }


def _wanted(filters: Filters, event: types_pb2.Event) -> bool:
    def about(key: str) -> bool:
        """An id, a prefix of one, or a name, of the event's own subject or of what it names."""
        if key not in filters:
            return True
        told = event.attributes.get("name" if event.type == key else key)
        known = set() if told is None else {told}
        if key == "image":
            known |= {names.split_familiar(name) for name in known}
        return filters.any(key, lambda value: value in known or (event.type == key and event.id.startswith(value)))

    def is_action(value: str) -> bool:
        return value == event.action or (value in _PREFIXED and event.action.startswith(value))

    return (
        filters.exact("type", event.type)
        and filters.any("event", is_action)
        and filters.labels(event.attributes)
        and filters.exact("scope", "local")
        and all(about(key) for key in ("container", "daemon", "image", "network", "volume"))
        and not any(key in filters for key in ("config", "node", "plugin", "secret", "service"))
    )
