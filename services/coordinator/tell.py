"""Tell: events of containers for what the owners of other facts did with them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from chassis.errors import PierError
from chassis.stages import stage
from coordinator.services import Services
from pier.exec.v1 import exec_pb2


async def tell(services: Services, id_: str, action: str, attributes: Mapping[str, str] | None = None) -> None:
    """Have execd tell it. What was done stays done where it cannot: the stage keeps the error."""
    request = exec_pb2.RecordEventRequest(id=id_, action=action, attributes=attributes)
    with suppress(PierError):
        async with stage("tell.event", action=action):
            await services.execd.call(services.containers.RecordEvent, request)
