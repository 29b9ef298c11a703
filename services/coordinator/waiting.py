"""Waiting for a container's end, also over a restart of execd."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Final

from chassis.errors import NotFound, Unavailable
from coordinator.coordinator import Coordinator
from pier.exec.v1 import exec_pb2

_REDIAL: Final = 0.1


async def exits(
    coordinator: Coordinator, name: str, condition: exec_pb2.WaitCondition.ValueType
) -> AsyncGenerator[str | exec_pb2.Exit, None]:
    """The container's full id when the wait is in place, then the exit. execd may go and come back meanwhile."""
    services = coordinator.services
    request = exec_pb2.WaitRequest(namespace=services.namespace, id=name, condition=condition)
    since = time.time_ns()
    registered = False
    while True:
        try:
            async for answer in services.execd.stream(services.containers.Wait, request):
                if answer.HasField("exit"):
                    yield answer.exit
                    return
                if not registered:
                    registered = True
                    request = exec_pb2.WaitRequest(id=answer.id, condition=condition)
                    yield answer.id
                elif missed := await _missed(coordinator, request.id, condition, since):
                    yield missed
                    return
        except Unavailable:
            if not registered:
                raise
            await asyncio.sleep(_REDIAL)


async def _missed(
    coordinator: Coordinator, id_: str, condition: exec_pb2.WaitCondition.ValueType, since: int
) -> exec_pb2.Exit | None:
    """An end that came while nobody could tell of it. ``since``: nanoseconds of the epoch at which the wait began."""
    if condition != exec_pb2.WAIT_CONDITION_NEXT_EXIT:
        return None
    try:
        now = (await coordinator.get(id_)).status
    except NotFound:
        return None  # its tombstone answers the wait
    return now.exit if now.HasField("exit") and now.exit.time.ToNanoseconds() > since else None
