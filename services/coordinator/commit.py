"""Commit: an image of a container, which stands still meanwhile if it is asked to.

A container that is frozen for this is marked first, so that it goes on whatever dies in between: the reconciler thaws
one that is marked while nobody commits it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from google.protobuf import any_pb2, wrappers_pb2

from chassis.errors import Conflict
from chassis.stages import stage
from coordinator.services import NAMESPACE, Services
from coordinator.tell import tell
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2

MOUNT_POINTS: Final = (
    b"/.dockerenv", b"/dev", b"/dev/console", b"/dev/mqueue", b"/dev/pts", b"/dev/shm", b"/etc/hostname", b"/etc/hosts",
    b"/etc/resolv.conf", b"/proc", b"/sbin/docker-init", b"/sys",
)
"""What a start makes in a root file system where the image has none: its mark, and what the engine's own things are
mounted on."""
_FROZEN: Final = "pier.engine.v1.frozen"
"""Extension key of a BoolValue: it was paused by a commit, not by anybody's wish."""
_TIMEOUT: Final = 3600.0
"""Seconds: a container's changes may be a whole disk."""
_GOES_ON: Final = ("NOT_PAUSED", "NOT_RUNNING")


@dataclass(frozen=True)
class NewImage:
    """``config`` is the image's `config` object as JSON; the words go into its history."""

    reference: str
    config: bytes
    author: str
    message: str
    pause: bool


async def commit(services: Services, container: exec_pb2.Container, new: NewImage) -> image_pb2.Image:
    """Make the image. ``pause``: a running container is frozen until its files have been read."""
    frozen = new.pause and container.status.state == exec_pb2.CONTAINER_STATE_RUNNING
    if frozen:
        async with stage("commit.pause"):
            await _freeze(services, container.id)
    try:
        async with stage("commit.image"):
            made: image_pb2.CommitResponse = await services.imaged.call(
                services.images.Commit,
                image_pb2.CommitRequest(
                    snapshot=container.id, namespace=NAMESPACE, reference=new.reference, config=new.config,
                    author=new.author, message=new.message, mount_points=MOUNT_POINTS,
                    created_by=b" ".join(container.spec.process.args).decode(errors="replace"),
                ),
                timeout=_TIMEOUT,
            )
    finally:
        if frozen:
            await thaw(services, container.id)
    await tell(services, container.id, "commit", {
        "comment": new.message, "imageID": made.image.id, "imageRef": next(iter(made.image.references), ""),
    })
    return made.image


async def _freeze(services: Services, id_: str) -> None:
    await _mark(services, id_, frozen=True)
    try:
        await services.execd.call(services.containers.PauseContainer, exec_pb2.PauseContainerRequest(id=id_))
    except Conflict:  # somebody else has just paused it, or it has ended: nothing here to be thawed
        await _mark(services, id_, frozen=False)
        raise


def is_frozen(container: exec_pb2.Container) -> bool:
    """Whether a commit has paused it and not let it go on."""
    mark = wrappers_pb2.BoolValue()
    return _FROZEN in container.extensions and container.extensions[_FROZEN].Unpack(mark) and mark.value


async def thaw(services: Services, id_: str) -> None:
    """Let a container that a commit has paused go on, if nobody else did."""
    async with stage("commit.unpause"):
        try:
            await services.execd.call(services.containers.UnpauseContainer, exec_pb2.UnpauseContainerRequest(id=id_))
        except Conflict as error:
            if error.reason not in _GOES_ON:
                raise
        await _mark(services, id_, frozen=False)


async def _mark(services: Services, id_: str, *, frozen: bool) -> None:
    packed = any_pb2.Any()
    packed.Pack(wrappers_pb2.BoolValue(value=frozen))
    await services.execd.call(
        services.containers.SetExtension, exec_pb2.SetExtensionRequest(id=id_, key=_FROZEN, value=packed))
