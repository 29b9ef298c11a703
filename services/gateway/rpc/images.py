"""pier.engine.v1.ImageService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from chassis.errors import InvalidArgument
from chassis.stages import stage
from coordinator.services import NAMESPACE
from gateway import listing
from gateway.engine import Engine
from gateway.projection import stale_since
from gateway.rpc import shown
from gateway.rpc.answers import Answers
from pier.engine.v1 import image_pb2 as pb
from pier.engine.v1 import image_pb2_grpc
from pier.image.v1 import image_pb2

_TRANSFER: Final = 86400.0
"""Seconds that one transfer may take."""


class Images(image_pb2_grpc.ImageServiceServicer):
    def __init__(self, engine: Engine, answers: Answers) -> None:
        self._engine = engine
        self._services = engine.services
        self._once = answers.once

    async def ListImages(self, request: pb.ListImagesRequest, context: Any) -> AsyncIterator[pb.ListImagesResponse]:
        stale_since.set(0.0)
        for batch in shown.batches(await listing.images(self._engine)):
            yield pb.ListImagesResponse(images=batch, stale_since=shown.stale())

    async def GetImage(self, request: pb.GetImageRequest, context: Any) -> pb.GetImageResponse:
        stale_since.set(0.0)
        return pb.GetImageResponse(
            image=await listing.image(self._engine, request.image), stale_since=shown.stale())

    async def PullImage(self, request: pb.PullImageRequest, context: Any) -> AsyncIterator[pb.PullImageResponse]:
        _check_reference(request.reference)
        asked = image_pb2.PullRequest(
            namespace=NAMESPACE, reference=request.reference, auth=request.auth,
            platform=request.platform if request.HasField("platform") else None,
        )
        async with stage("image_pull.stream", reference=request.reference):
            async with aclosing(self._services.imaged.stream(self._services.images.Pull, asked, _TRANSFER)) as answers:
                async for answer in answers:
                    kind = answer.WhichOneof("event")
                    yield pb.PullImageResponse(**{kind: getattr(answer, kind)} if kind else {})

    async def PushImage(self, request: pb.PushImageRequest, context: Any) -> AsyncIterator[pb.PushImageResponse]:
        _check_reference(request.reference)
        asked = image_pb2.PushRequest(namespace=NAMESPACE, reference=request.reference, auth=request.auth)
        async with stage("image_push.stream", reference=request.reference):
            async with aclosing(self._services.imaged.stream(self._services.images.Push, asked, _TRANSFER)) as answers:
                async for answer in answers:
                    kind = answer.WhichOneof("event")
                    yield pb.PushImageResponse(**{kind: getattr(answer, kind)} if kind else {})

    async def RemoveImage(self, request: pb.RemoveImageRequest, context: Any) -> pb.RemoveImageResponse:
        async def work() -> pb.RemoveImageResponse:
            asked = image_pb2.RemoveImageRequest(
                namespace=NAMESPACE, image=request.image, force=request.force,
                uses=await listing.uses(self._services))
            answer: image_pb2.RemoveImageResponse = await self._services.imaged.call(
                self._services.images.RemoveImage, asked)
            return pb.RemoveImageResponse(removed=answer.removed, freed_bytes=answer.freed_bytes)

        return await self._once("RemoveImage", request, work)

    async def TagImage(self, request: pb.TagImageRequest, context: Any) -> pb.TagImageResponse:
        async def work() -> pb.TagImageResponse:
            asked = image_pb2.TagImageRequest(
                namespace=NAMESPACE, image=request.image, reference=request.reference)
            answer: image_pb2.TagImageResponse = await self._services.imaged.call(
                self._services.images.TagImage, asked)
            return pb.TagImageResponse(image=answer.image)

        return await self._once("TagImage", request, work)


def _check_reference(reference: str) -> None:
    if not reference:
        raise InvalidArgument("reference: no image is named", reason="BAD_FIELD", field="reference")
