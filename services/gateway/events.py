"""The events of imaged, netd and execd as one stream, with a cursor that goes on exactly.

Each service's events come in its own order, without hole or repetition; between services they come as they happen. The
cursor is opaque to clients: base64 of ``{service: [epoch, sequence]}``, or ``{service: nanoseconds}`` for one of which
nothing was seen yet.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import heapq
from collections.abc import AsyncGenerator
from typing import Any, Final

import msgspec

from chassis.client import Peer
from chassis.errors import DeadlineExceeded, InvalidArgument, PierError, Unavailable
from chassis.events import timestamp
from coordinator.services import Services
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2
from pier.network.v1 import network_pb2
from pier.types.v1 import types_pb2

_REDIAL: Final = 0.2
_QUEUE: Final = 1024
_TOKEN_MAX: Final = 1024

Position = tuple[str, int] | int


class Merged:
    """One reader's view. ``since_ns`` counts where ``after``, a cursor, is not given."""

    def __init__(self, services: Services, since_ns: int, after: str = "") -> None:
        sources: list[tuple[Peer, Any, Any]] = [
            (services.execd, services.containers.Events, exec_pb2.EventsRequest),
            (services.imaged, services.images.Events, image_pb2.EventsRequest),
            (services.netd, services.networks.Events, network_pb2.EventsRequest),
        ]
        self._sources = {source[0].name: source for source in sources}
        self._positions: dict[str, Position] = dict.fromkeys(self._sources, max(since_ns, 0))
        if after:
            self._positions |= {name: place for name, place in decode(after).items() if name in self._sources}

    def cursor(self) -> str:
        """The place behind the last event that was given out."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self._positions)).decode()

    async def kept(self, until_ns: int) -> AsyncGenerator[types_pb2.Event, None]:
        """What is kept up to ``until_ns``, merged by time; a service that is away is left out."""
        found: dict[str, list[types_pb2.Event]] = {name: [] for name in self._sources}

        async def read(name: str) -> None:
            with contextlib.suppress(Unavailable, DeadlineExceeded):
                async for event in self._stream(name, until_ns):
                    found[name].append(event)

        await asyncio.gather(*(read(name) for name in self._sources))
        rows = ([(event.time.ToNanoseconds(), name, event) for event in events] for name, events in found.items())
        for _, name, event in heapq.merge(*rows, key=lambda row: row[:2]):
            self._note(name, event)
            yield event

    async def follow(self, until_ns: int | None) -> AsyncGenerator[types_pb2.Event, None]:
        """Events as they come. A service that goes away is dialled again; an error of another kind is raised."""
        queue: asyncio.Queue[tuple[str, types_pb2.Event] | PierError | None] = asyncio.Queue(_QUEUE)

        async def pump(name: str) -> None:
            place: Position | None = None
            while True:
                try:
                    async for event in self._stream(name, until_ns, place):
                        place = (event.cursor.epoch, event.cursor.sequence)
                        await queue.put((name, event))
                    await queue.put(None)
                    return
                except (Unavailable, DeadlineExceeded):
                    await asyncio.sleep(_REDIAL)
                except PierError as error:
                    await queue.put(error)
                    return

        tasks = [asyncio.create_task(pump(name)) for name in self._sources]
        try:
            left = len(tasks)
            while left:
                entry = await queue.get()
                if entry is None:
                    left -= 1
                elif isinstance(entry, PierError):
                    raise entry
                else:
                    self._note(*entry)
                    yield entry[1]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _note(self, name: str, event: types_pb2.Event) -> None:
        self._positions[name] = (event.cursor.epoch, event.cursor.sequence)

    async def _stream(
        self, name: str, until_ns: int | None, place: Position | None = None
    ) -> AsyncGenerator[types_pb2.Event, None]:
        peer, method, request = self._sources[name]
        position = self._positions[name] if place is None else place
        selector = types_pb2.EventSelector()
        if isinstance(position, int):
            selector.since.CopyFrom(timestamp(position))
        else:
            selector.after.epoch, selector.after.sequence = position
        if until_ns is not None:
            selector.until.CopyFrom(timestamp(max(until_ns, 0)))
        async for answer in peer.stream(method, request(selector=selector)):
            yield answer.event


def decode(token: str) -> dict[str, Position]:
    """The places in a cursor. InvalidArgument (BAD_CURSOR) for what is none."""
    try:
        if len(token) > _TOKEN_MAX:
            raise ValueError
        data = base64.b64decode(token, altchars=b"-_", validate=True)
        return msgspec.json.decode(data, type=dict[str, tuple[str, int] | int])
    except (ValueError, msgspec.DecodeError):
        raise InvalidArgument("after: not a cursor of this stream", reason="BAD_CURSOR", field="after") from None
