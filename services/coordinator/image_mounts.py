"""Images of which a container sees the files: a read-only snapshot each, which goes with the container."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chassis.errors import InvalidArgument, NotFound
from chassis.stages import stage
from coordinator.plans import plan_of
from coordinator.services import NAMESPACE, Services
from pier.engine.v1 import engine_pb2
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2
from pier.types.v1 import types_pb2

_MARK: Final = "."


async def resolve(services: Services, images: Sequence[engine_pb2.ImageMount]) -> None:
    """Put the id of each image in its place. InvalidArgument (NO_SUCH_IMAGE) for one that is not there."""
    for number, each in enumerate(images):
        try:
            found: image_pb2.GetImageResponse = await services.imaged.call(
                services.images.GetImage, image_pb2.GetImageRequest(namespace=NAMESPACE, image=each.image))
        except NotFound as error:
            raise InvalidArgument(
                error.message, reason="NO_SUCH_IMAGE", field=f"plan.images[{number}].image") from error
        each.image_id = found.image.id


async def make(services: Services, id_: str, images: Sequence[engine_pb2.ImageMount]) -> list[types_pb2.MountSpec]:
    """A snapshot for each of container ``id_``'s, and how they are mounted."""
    made = []
    for number, each in enumerate(images):
        async with stage("create.image_mount", image=each.image):
            answer: image_pb2.ViewSnapshotResponse = await services.imaged.call(
                services.snapshots.ViewSnapshot,
                image_pb2.ViewSnapshotRequest(key=_key(id_, number), owner=services.owner(id_), image=each.image_id))
        (spec,) = answer.snapshot.mounts
        spec.target, spec.subpath = each.target, each.subpath
        made.append(spec)
    return made


async def drop(services: Services, id_: str, images: Sequence[engine_pb2.ImageMount]) -> None:
    """Remove the snapshots; succeeds where there are none."""
    for number in range(len(images)):
        await services.imaged.call(
            services.snapshots.RemoveSnapshot, image_pb2.RemoveSnapshotRequest(key=_key(id_, number)))


def container_of(key: str) -> str:
    """The id of the container that a snapshot of the coordinator's belongs to."""
    return key.partition(_MARK)[0]


def _key(id_: str, number: int) -> str:
    return f"{id_}{_MARK}{number}"


def used(container: exec_pb2.Container) -> list[str]:
    """Ids of the images that are mounted in it."""
    try:
        return [each.image_id for each in plan_of(container).images]
    except InvalidArgument:  # made by another manager, without a plan
        return []
