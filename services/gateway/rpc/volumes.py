"""pier.engine.v1.VolumeService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from chassis import ids
from coordinator.volumes import remove_unused
from gateway import reads
from gateway.engine import Engine
from gateway.projection import stale_since
from gateway.rpc import shown
from gateway.rpc.answers import Answers, made_id
from pier.engine.v1 import volume_pb2 as pb
from pier.engine.v1 import volume_pb2_grpc
from pier.image.v1 import image_pb2


class Volumes(volume_pb2_grpc.VolumeServiceServicer):
    def __init__(self, engine: Engine, answers: Answers) -> None:
        self._engine = engine
        self._services = engine.services
        self._once = answers.once

    async def CreateVolume(self, request: pb.CreateVolumeRequest, context: Any) -> pb.CreateVolumeResponse:
        async def work() -> pb.CreateVolumeResponse:
            name = ids.name(request.name) if request.name else made_id("volume", request.operation_id)
            asked = image_pb2.CreateVolumeRequest(
                name=name, owner=self._services.volume_owner(name), driver=request.driver or "local",
                options=request.options, labels=request.labels)
            answer: image_pb2.CreateVolumeResponse = await self._services.imaged.call(
                self._services.volumes.CreateVolume, asked)
            return pb.CreateVolumeResponse(volume=answer.volume)

        return await self._once("CreateVolume", request, work)

    async def GetVolume(self, request: pb.GetVolumeRequest, context: Any) -> pb.GetVolumeResponse:
        stale_since.set(0.0)
        return pb.GetVolumeResponse(
            volume=await reads.volume(self._engine, ids.name(request.volume, "volume")), stale_since=shown.stale())

    async def ListVolumes(self, request: pb.ListVolumesRequest, context: Any) -> AsyncIterator[pb.ListVolumesResponse]:
        stale_since.set(0.0)
        for batch in shown.batches(await reads.volumes(self._engine)):
            yield pb.ListVolumesResponse(volumes=batch, stale_since=shown.stale())

    async def RemoveVolume(self, request: pb.RemoveVolumeRequest, context: Any) -> pb.RemoveVolumeResponse:
        async def work() -> pb.RemoveVolumeResponse:
            name = ids.name(request.volume, "volume")
            return pb.RemoveVolumeResponse(freed_bytes=await remove_unused(self._services, name))

        return await self._once("RemoveVolume", request, work)
