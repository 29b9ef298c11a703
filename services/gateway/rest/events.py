"""GET /events: the events of imaged, netd and execd as one stream, in Docker's form."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from aiohttp import web

from chassis.client import Peer
from chassis.errors import DeadlineExceeded, PierError, Unavailable
from chassis.events import timestamp
from chassis.logs import logger
from coordinator.services import NAMESPACE
from gateway.rest import wire
from gateway.rest.call import Call
from gateway.rest.filters import Filters
from gateway.rest.routes import Routes
from gateway.rest.versions import Version
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2
from pier.network.v1 import network_pb2
from pier.types.v1 import types_pb2

_FILTERS: Final = (
    "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret",
    "service", "type", "volume",
)
_PREFIXED: Final = ("health_status", "exec_create", "exec_start")
_NO_LEGACY_SINCE: Final = Version(1, 52)
_REDIAL: Final = 0.2
_QUEUE: Final = 1024

routes = Routes()


@routes.get("/events")
async def events(call: Call) -> web.StreamResponse:
    """One JSON object a line. ``since`` replays what is kept; ``until`` in the past ends after the replay."""
    filters = call.filters(*_FILTERS)
    since, until = call.query.time_ns("since"), call.query.time_ns("until")
    began = time.time_ns()
    response = await call.stream()
    selector = types_pb2.EventSelector(since=timestamp(max(since, 0) if since is not None else began))
    if until is not None:
        selector.until.CopyFrom(timestamp(max(until, 0)))
    if since is not None:
        # What is kept is merged by time; from then on events go out as they come.
        replay = types_pb2.EventSelector(since=selector.since, until=timestamp(min(until or began, began)))
        past = [event async for event in _merged(call, replay, once=True)]
        for event in sorted(past, key=lambda each: each.time.ToNanoseconds()):
            await _send(call, response, filters, event)
        if until is not None and until <= began:
            return response
        selector.since.CopyFrom(timestamp(began + 1))
    elif until is not None and until <= began:
        return response
    async for event in _merged(call, selector, once=False):
        await _send(call, response, filters, event)
    return response


async def _send(call: Call, response: web.StreamResponse, filters: Filters, event: types_pb2.Event) -> None:
    if event.owner.namespace not in ("", NAMESPACE) or not _wanted(filters, event):
        return
    await response.write(wire.encode(_shown(event, legacy=call.version < _NO_LEGACY_SINCE)))


def _sources(call: Call) -> list[tuple[Peer, Any, Any]]:
    services = call.engine.services
    return [
        (services.execd, services.containers.Events, exec_pb2.EventsRequest),
        (services.imaged, services.images.Events, image_pb2.EventsRequest),
        (services.netd, services.networks.Events, network_pb2.EventsRequest),
    ]


async def _merged(call: Call, selector: types_pb2.EventSelector, *, once: bool) -> AsyncIterator[types_pb2.Event]:
    """Events of all services as they come. A service that goes away is dialled again after its last event;
    with ``once`` it is left out."""
    queue: asyncio.Queue[types_pb2.Event | None] = asyncio.Queue(_QUEUE)

    async def follow(peer: Peer, method: Any, request: Any) -> None:
        own = types_pb2.EventSelector()
        own.CopyFrom(selector)
        while True:
            try:
                async for answer in peer.stream(method, request(selector=own)):
                    own.after.CopyFrom(answer.event.cursor)
                    await queue.put(answer.event)
                break
            except (Unavailable, DeadlineExceeded):
                if once:
                    break
            except PierError as error:
                logger().warning("events end", peer=peer.name, reason=error.reason, error=error.message)
                break
            await asyncio.sleep(_REDIAL)
        await queue.put(None)

    sources = _sources(call)
    tasks = [asyncio.create_task(follow(*source)) for source in sources]
    try:
        left = len(tasks)
        while left:
            event = await queue.get()
            if event is None:
                left -= 1
            else:
                yield event
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _shown(event: types_pb2.Event, *, legacy: bool) -> dict[str, Any]:
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
        if event.type != key:
            return event.attributes.get(key) in filters.get(key) if key in event.attributes else False
        name = event.attributes.get("name", "")
        return filters.any(key, lambda value: event.id.startswith(value) or value in (name, f"{name}:latest"))

    def is_action(value: str) -> bool:
        return value == event.action or (value in _PREFIXED and event.action.startswith(value))

    return (
        filters.exact("type", event.type)
        and filters.any("event", is_action)
        and filters.labels(event.attributes)
        and filters.exact("scope", "local")
        and all(about(key) for key in ("container", "image", "network", "volume"))
        and not any(key in filters for key in ("config", "daemon", "node", "plugin", "secret", "service"))
    )
