"""Execs: further processes in a running container. Made, then started; who attaches does that in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf import any_pb2

from chassis.errors import Conflict
from chassis.stages import stage
from coordinator.services import Services
from pier.exec.v1 import exec_pb2

_START_TIMEOUT: Final = 60.0


async def make(
    services: Services, container: exec_pb2.Container, id_: str, process: exec_pb2.Process,
    extensions: Mapping[str, any_pb2.Any] | None = None,
) -> exec_pb2.Exec:
    """Register exec ``id_``. Conflict (PAUSED, RESTARTING, NOT_RUNNING) where the container cannot have one."""
    state = container.status.state
    if state == exec_pb2.CONTAINER_STATE_PAUSED:
        raise Conflict(f"container {container.id} is paused, unpause the container before exec", reason="PAUSED")
    if state == exec_pb2.CONTAINER_STATE_RESTARTING:
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running",
                       reason="RESTARTING")
    if state != exec_pb2.CONTAINER_STATE_RUNNING:
        raise Conflict(f"container {container.id} is not running", reason="NOT_RUNNING")
    request = exec_pb2.ExecCreateRequest(id=id_, container_id=container.id, process=process, extensions=extensions)
    async with stage("exec.create", container=container.id):
        made: exec_pb2.ExecCreateResponse = await services.execd.call(services.containers.ExecCreate, request)
    return made.exec


async def start(services: Services, request: exec_pb2.ExecStartRequest) -> exec_pb2.Exec:
    """Start it. Conflict with the runtime's words where it cannot run."""
    async with stage("exec.start", exec=request.id):
        started: exec_pb2.ExecStartResponse = await services.execd.call(
            services.containers.ExecStart, request, timeout=_START_TIMEOUT)
    return started.exec


async def get(services: Services, id_: str) -> exec_pb2.Exec:
    """NotFound where there is none."""
    found: exec_pb2.GetExecResponse = await services.execd.call(
        services.containers.GetExec, exec_pb2.GetExecRequest(id=id_), timeout=5)
    return found.exec
