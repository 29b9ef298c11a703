"""Commit: an image of a container, which stands still meanwhile if it is asked to."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.stages import stage
from coordinator.services import NAMESPACE, Services
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2

MOUNT_POINTS = (
    b"/dev", b"/dev/console", b"/dev/mqueue", b"/dev/pts", b"/dev/shm", b"/etc/hostname", b"/etc/hosts",
    b"/etc/resolv.conf", b"/proc", b"/sbin/docker-init", b"/sys",
)
"""What a start makes in a root file system where the image has none, to mount the engine's own things on."""
TIMEOUT = 3600.0
"""Seconds: a container's changes may be a whole disk."""


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
            await services.execd.call(
                services.containers.PauseContainer, exec_pb2.PauseContainerRequest(id=container.id))
    try:
        async with stage("commit.image"):
            made: image_pb2.CommitResponse = await services.imaged.call(
                services.images.Commit,
                image_pb2.CommitRequest(
                    snapshot=container.id, namespace=NAMESPACE, reference=new.reference, config=new.config,
                    author=new.author, message=new.message, mount_points=MOUNT_POINTS,
                    created_by=b" ".join(container.spec.process.args).decode(errors="replace"),
                ),
                timeout=TIMEOUT,
            )
    finally:
        if frozen:
            async with stage("commit.unpause"):
                await services.execd.call(
                    services.containers.UnpauseContainer, exec_pb2.UnpauseContainerRequest(id=container.id))
    return made.image
