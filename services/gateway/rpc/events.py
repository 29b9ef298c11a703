"""pier.engine.v1.EngineService: who this is, and what happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from chassis.client import READ_TIMEOUT, Peer
from chassis.errors import PierError
from chassis.version import VERSION
from coordinator.services import NAMESPACE
from gateway.engine import Engine
from gateway.events import Merged
from pier.engine.v1 import engine_pb2 as pb
from pier.engine.v1 import engine_pb2_grpc
from pier.system.v1 import system_pb2
from pier.types.v1 import types_pb2


class Engines(engine_pb2_grpc.EngineServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def GetInfo(self, request: pb.GetInfoRequest, context: Any) -> pb.GetInfoResponse:
        services = self._engine.services
        peers = (services.imaged, services.netd, services.execd, self._engine.buildd)
        runtime = self._engine.runtime
        return pb.GetInfoResponse(
            version=VERSION, instance=runtime.instance.name, node_id=runtime.node_id,
            services=await asyncio.gather(*map(self._state, peers)),
        )

    async def Events(self, request: pb.EventsRequest, context: Any) -> AsyncIterator[pb.EventsResponse]:
        began = time.time_ns()
        since = request.since.ToNanoseconds() if request.HasField("since") else None
        until = request.until.ToNanoseconds() if request.HasField("until") else None
        merged = Merged(self._engine.services, began if since is None else since, request.after)
        yield pb.EventsResponse(cursor=merged.cursor())
        if since is not None and not request.after:
            async with aclosing(merged.kept(began if until is None else min(until, began))) as past:
                async for event in past:
                    if _is_wanted(event, request):
                        yield pb.EventsResponse(event=event, cursor=merged.cursor())
        async with aclosing(merged.follow(until)) as following:
            async for event in following:
                if _is_wanted(event, request):
                    yield pb.EventsResponse(event=event, cursor=merged.cursor())

    async def _state(self, peer: Peer) -> pb.ServiceState:
        try:
            info: system_pb2.InfoResponse = await peer.call(
                self._engine.services.system(peer).Info, system_pb2.InfoRequest(), READ_TIMEOUT)
        except PierError as error:
            return pb.ServiceState(name=peer.name, error=error.message)
        return pb.ServiceState(name=peer.name, info=info)


def _is_wanted(event: types_pb2.Event, request: pb.EventsRequest) -> bool:
    return (
        event.owner.namespace in ("", NAMESPACE)
        and (not request.types or event.type in request.types)
        and (not request.actions or event.action.partition(":")[0] in request.actions)
        and (not request.ids or event.id in request.ids)
    )
