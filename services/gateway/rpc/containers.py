"""pier.engine.v1.ContainerService: each rpc finds its container and hands over to the coordinator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from chassis.errors import InvalidArgument, PierError
from chassis.ids import exec_id
from coordinator import execs, waiting
from coordinator.coordinator import is_alive
from gateway import listing, reads
from gateway.engine import Engine
from gateway.projection import stale_since
from gateway.rpc import create, sessions, shown
from gateway.rpc.answers import Answers
from pier.engine.v1 import container_pb2 as pb
from pier.engine.v1 import container_pb2_grpc
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2


class Containers(container_pb2_grpc.ContainerServiceServicer):
    def __init__(self, engine: Engine, answers: Answers) -> None:
        self._engine = engine
        self._coordinator = engine.coordinator
        self._once = answers.once

    async def CreateContainer(self, request: pb.CreateContainerRequest, context: Any) -> pb.CreateContainerResponse:
        return await self._once("CreateContainer", request, lambda: create.create(self._coordinator, request))

    async def StartContainer(self, request: pb.StartContainerRequest, context: Any) -> pb.StartContainerResponse:
        async def work() -> pb.StartContainerResponse:
            found = await self._coordinator.get(request.container)
            started = await self._coordinator.start(found.id, found)
            return pb.StartContainerResponse(container=shown.container(started))

        return await self._once("StartContainer", request, work)

    async def StopContainer(self, request: pb.StopContainerRequest, context: Any) -> pb.StopContainerResponse:
        async def work() -> pb.StopContainerResponse:
            found = await self._coordinator.get(request.container)
            await self._coordinator.stop(found.id, seconds=_seconds(request), signal=request.signal)
            return pb.StopContainerResponse()

        return await self._once("StopContainer", request, work)

    async def RestartContainer(self, request: pb.RestartContainerRequest, context: Any) -> pb.RestartContainerResponse:
        async def work() -> pb.RestartContainerResponse:
            found = await self._coordinator.get(request.container)
            await self._coordinator.restart(found.id, seconds=_seconds(request), signal=request.signal)
            return pb.RestartContainerResponse()

        return await self._once("RestartContainer", request, work)

    async def KillContainer(self, request: pb.KillContainerRequest, context: Any) -> pb.KillContainerResponse:
        async def work() -> pb.KillContainerResponse:
            found = await self._coordinator.get(request.container)
            await self._coordinator.kill(found.id, request.signal)
            return pb.KillContainerResponse()

        return await self._once("KillContainer", request, work)

    async def PauseContainer(self, request: pb.PauseContainerRequest, context: Any) -> pb.PauseContainerResponse:
        async def work() -> pb.PauseContainerResponse:
            await self._coordinator.pause((await self._coordinator.get(request.container)).id)
            return pb.PauseContainerResponse()

        return await self._once("PauseContainer", request, work)

    async def UnpauseContainer(self, request: pb.UnpauseContainerRequest, context: Any) -> pb.UnpauseContainerResponse:
        async def work() -> pb.UnpauseContainerResponse:
            await self._coordinator.unpause((await self._coordinator.get(request.container)).id)
            return pb.UnpauseContainerResponse()

        return await self._once("UnpauseContainer", request, work)

    async def RenameContainer(self, request: pb.RenameContainerRequest, context: Any) -> pb.RenameContainerResponse:
        async def work() -> pb.RenameContainerResponse:
            found = await self._coordinator.get(request.container)
            await self._coordinator.rename(found.id, request.name)
            return pb.RenameContainerResponse()

        return await self._once("RenameContainer", request, work)

    async def RemoveContainer(self, request: pb.RemoveContainerRequest, context: Any) -> pb.RemoveContainerResponse:
        async def work() -> pb.RemoveContainerResponse:
            found = await self._coordinator.get(request.container)
            await self._coordinator.remove(found.id, force=request.force, with_volumes=request.with_volumes)
            self._engine.projection.forget(f"container:{request.container}")
            return pb.RemoveContainerResponse()

        return await self._once("RemoveContainer", request, work)

    async def GetContainer(self, request: pb.GetContainerRequest, context: Any) -> pb.GetContainerResponse:
        stale_since.set(0.0)
        found = await reads.container(self._engine, request.container)
        endpoints = await self._endpoints(found.id) if is_alive(found) else []
        return pb.GetContainerResponse(container=shown.container(found, endpoints), stale_since=shown.stale())

    async def ListContainers(
        self, request: pb.ListContainersRequest, context: Any
    ) -> AsyncIterator[pb.ListContainersResponse]:
        stale_since.set(0.0)
        found = [each for each in await listing.seen_containers(self._engine) if _is_wanted(each, request)]
        for batch in shown.batches(found):
            yield pb.ListContainersResponse(containers=map(shown.container, batch), stale_since=shown.stale())

    async def WaitContainer(
        self, request: pb.WaitContainerRequest, context: Any
    ) -> AsyncIterator[pb.WaitContainerResponse]:
        async with aclosing(waiting.exits(self._coordinator, request.container, request.condition)) as found:
            async for each in found:
                if isinstance(each, str):
                    yield pb.WaitContainerResponse(registered=each)
                else:
                    yield pb.WaitContainerResponse(exit=each)

    async def ReadLogs(self, request: pb.ReadLogsRequest, context: Any) -> AsyncIterator[pb.ReadLogsResponse]:
        found = await self._coordinator.get(request.container)
        both = not (request.stdout or request.stderr)
        asked = exec_pb2.ReadLogsRequest(
            id=found.id, follow=request.follow, tail=request.tail if request.HasField("tail") else None,
            since=request.since if request.HasField("since") else None,
            until=request.until if request.HasField("until") else None, stdout=request.stdout or both,
            stderr=request.stderr or both,
        )
        services = self._engine.services
        async with aclosing(services.execd.stream(services.containers.ReadLogs, asked)) as answers:
            async for answer in answers:
                yield pb.ReadLogsResponse(records=answer.records)

    async def ContainerStats(
        self, request: pb.ContainerStatsRequest, context: Any
    ) -> AsyncIterator[pb.ContainerStatsResponse]:
        found = await self._coordinator.get(request.container)
        services = self._engine.services
        asked = exec_pb2.StatsRequest(id=found.id, once=request.once)
        async with aclosing(services.execd.stream(services.containers.Stats, asked)) as answers:
            async for answer in answers:
                yield pb.ContainerStatsResponse(stats=answer)

    async def ListProcesses(self, request: pb.ListProcessesRequest, context: Any) -> pb.ListProcessesResponse:
        found = await self._coordinator.get(request.container)
        services = self._engine.services
        answer: exec_pb2.ListProcessesResponse = await services.execd.call(
            services.containers.ListProcesses, exec_pb2.ListProcessesRequest(id=found.id), timeout=5)
        return pb.ListProcessesResponse(processes=answer.processes)

    async def Attach(
        self, request_iterator: AsyncIterator[pb.AttachRequest], context: Any
    ) -> AsyncIterator[pb.AttachResponse]:
        async with aclosing(sessions.attach_to(self._coordinator, request_iterator)) as answers:
            async for answer in answers:
                yield answer

    async def Exec(
        self, request_iterator: AsyncIterator[pb.ExecRequest], context: Any
    ) -> AsyncIterator[pb.ExecResponse]:
        async with aclosing(sessions.execute(self._coordinator, request_iterator)) as answers:
            async for answer in answers:
                yield answer

    async def GetExec(self, request: pb.GetExecRequest, context: Any) -> pb.GetExecResponse:
        found = await execs.get(self._engine.services, exec_id(request.exec_id, "exec_id"))
        return pb.GetExecResponse(exec=shown.exec_(found))

    async def ResizeTerminal(self, request: pb.ResizeTerminalRequest, context: Any) -> pb.ResizeTerminalResponse:
        found = await self._coordinator.get(request.container)
        height, width = sessions.size(request.size)
        await self._coordinator.resize(found.id, height, width, request.exec_id)
        return pb.ResizeTerminalResponse()

    async def _endpoints(self, id_: str) -> list[network_pb2.Endpoint]:
        """None where netd does not answer: a container is shown without them."""
        services = self._engine.services
        try:
            found: network_pb2.GetSandboxResponse = await services.netd.call(
                services.networks.GetSandbox, network_pb2.GetSandboxRequest(id=id_),
                timeout=self._engine.projection.deadline)
        except PierError:
            return []
        return list(found.sandbox.endpoints)


def _is_wanted(container: exec_pb2.Container, request: pb.ListContainersRequest) -> bool:
    labels = container.spec.labels
    return (not request.states or container.status.state in request.states) and all(
        key in labels and value in ("", labels[key]) for key, value in request.labels.items())


def _seconds(request: pb.StopContainerRequest | pb.RestartContainerRequest) -> int | None:
    if not request.HasField("timeout"):
        return None
    if request.timeout < -1:
        raise InvalidArgument(f"timeout: {request.timeout} is out of range", reason="BAD_FIELD", field="timeout",
                              expected="-1 or more")
    return request.timeout
