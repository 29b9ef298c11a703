"""Execs: further processes in a running container. Made, then started; who attaches does that in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf import any_pb2

from chassis.stages import stage
from coordinator.services import Services
from pier.exec.v1 import exec_pb2

_START_TIMEOUT: Final = 60.0


async def make(
    services: Services, container: str, id_: str, process: exec_pb2.Process,
    extensions: Mapping[str, any_pb2.Any] | None = None,
) -> exec_pb2.Exec:
    """Register exec ``id_`` in the container of that id, name or unique prefix. NotFound; Conflict (PAUSED, RESTARTING,
    NOT_RUNNING) where it cannot have one."""
    request = exec_pb2.ExecCreateRequest(
        id=id_, container_id=container, namespace=services.namespace, process=process, extensions=extensions)
    async with stage("exec.create", container=container):
        made: exec_pb2.ExecCreateResponse = await services.execd.call(services.containers.ExecCreate, request)
    return made.exec


async def start(services: Services, request: exec_pb2.ExecStartRequest) -> exec_pb2.Exec:
    """Start it. Conflict with the runtime's words where it cannot run."""
    async with stage("exec.start", exec=request.id):
        started: exec_pb2.ExecStartResponse = await services.execd.call(
            services.containers.ExecStart, request, timeout=_START_TIMEOUT)
    return started.exec


async def open_attach(services: Services, id_: str) -> exec_pb2.OpenAttachResponse:
    """Where a client attaches to it before its start, and the exec itself. NotFound; Conflict (NOT_RUNNING) where the
    container does not run any more."""
    opened: exec_pb2.OpenAttachResponse = await services.execd.call(
        services.containers.OpenAttach, exec_pb2.OpenAttachRequest(exec_id=id_))
    return opened


async def get(services: Services, id_: str) -> exec_pb2.Exec:
    """NotFound where there is none."""
    found: exec_pb2.GetExecResponse = await services.execd.call(
        services.containers.GetExec, exec_pb2.GetExecRequest(id=id_), timeout=5)
    return found.exec
