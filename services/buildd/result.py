"""What a build comes to: an image, or an archive of it."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import Final

from msgspec.structs import replace

from buildd import config, snapshots
from buildd.build import Build, Image
from buildd.config import Config
from chassis.errors import NotFound
from chassis.stages import stage
from pier.image.v1 import image_pb2 as pb

_TRANSFER: Final = 86400.0


async def image(build: Build, made: Image) -> pb.Image:
    """Make the image, with all the references that it is to have."""
    if made.base_id and not build.options.labels:
        return await _tagged(build, made.base_id)
    document = made.document
    settings = document.config or Config()
    if not settings.env:
        settings = replace(settings, env=[f"PATH={config.PATH}"])
    labels = {**(settings.labels or {}), **build.options.labels}
    document = replace(
        document, config=replace(settings, labels=labels or None),
        created=config.time_of(made.created_ns or build.clamped(time.time_ns())),
    )
    services = build.state.services
    async with stage("build.image"):
        try:
            request = pb.CreateImageRequest(
                namespace=build.namespace, references=build.options.tags, snapshot=made.ground.snapshot,
                config=config.encode(document))
            answer: pb.CreateImageResponse = await services.imaged.call(services.images.CreateImage, request)
        except NotFound as error:
            if error.reason == "NO_SNAPSHOT":
                raise snapshots.lost(made.ground.snapshot) from error
            raise
    return answer.image


async def _tagged(build: Build, id_: str) -> pb.Image:
    """Nothing was done to the base: the image is the base."""
    services = build.state.services
    for reference in build.options.tags:
        await services.imaged.call(services.images.TagImage, pb.TagImageRequest(
            namespace=build.namespace, image=id_, reference=reference))
    answer: pb.GetImageResponse = await services.imaged.call(
        services.images.GetImage, pb.GetImageRequest(namespace=build.namespace, image=id_))
    return answer.image


async def tar(build: Build, made: Image) -> None:
    """The files, as a tar, to the client."""
    state = build.state
    async with snapshots.writable(state, build.namespace, made.ground) as key:
        request = pb.ExportRequest(key=key)
        async with aclosing(
            state.services.imaged.stream(state.services.snapshots.Export, request, _TRANSFER)
        ) as pieces:
            async for piece in pieces:
                await build.progress.output(piece.data)


async def archive(build: Build, made: pb.Image) -> None:
    """The image as an archive that is both a docker-archive and an OCI layout, to the client."""
    services = build.state.services
    names = build.options.tags or [made.id]
    request = pb.SaveRequest(namespace=build.namespace, images=names)
    async with aclosing(services.imaged.stream(services.images.Save, request, _TRANSFER)) as pieces:
        async for piece in pieces:
            await build.progress.output(piece.data)
