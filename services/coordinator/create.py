"""Create: a container's record, then its root file system; nothing in the kernel yet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from google.protobuf import any_pb2

from chassis.errors import InvalidArgument, NotFound
from chassis.stages import stage
from coordinator import image_config, image_mounts, volumes
from coordinator.plans import PLAN
from coordinator.saga import Saga
from coordinator.services import NAMESPACE, Services
from pier.engine.v1 import engine_pb2
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2
from pier.types.v1 import types_pb2

_PORT: Final = re.compile(r"[0-9]{1,5}(?:/(?:tcp|udp|sctp))?")


@dataclass(frozen=True)
class NewContainer:
    """What is asked for. ``spec`` holds everything but what the image may give a default for.

    ``entrypoint`` and ``command`` are None where the image's count; an empty entrypoint takes the image's away.
    ``volume_labels`` are those of the volumes that the image declares. ``snapshot``: its root file system stands on
    this committed snapshot ("" for nothing) and on no image, from which nothing is taken then.
    """

    id: str
    name: str
    image: str
    spec: exec_pb2.ContainerSpec
    plan: engine_pb2.ContainerPlan
    entrypoint: tuple[bytes, ...] | None = None
    command: tuple[bytes, ...] | None = None
    extensions: Mapping[str, any_pb2.Any] = field(default_factory=dict)
    volume_labels: Mapping[str, str] = field(default_factory=dict)
    snapshot: str | None = None


@dataclass(frozen=True)
class Created:
    container: exec_pb2.Container
    warnings: tuple[str, ...]


async def create(services: Services, new: NewContainer) -> Created:
    """Make the container. NotFound (reason NO_SUCH_IMAGE), AlreadyExists (NAME_TAKEN); nothing is left by a failure."""
    spec, plan = new.spec, new.plan
    owner = services.owner(new.id)
    root = image_pb2.PrepareSnapshotRequest(key=new.id, owner=owner)
    if new.snapshot is None:
        async with stage("create.image", image=new.image):
            image = await find_image(services, new.image)
        spec, plan = merged(new, image), planned(new, image)
        root.image = image.id
    elif new.snapshot:
        root.snapshot = new.snapshot
    if plan.images:
        await image_mounts.resolve(services, plan.images)
    extensions = dict(new.extensions)
    extensions[PLAN] = any_pb2.Any()
    extensions[PLAN].Pack(plan)
    async with Saga("create", services.unsettled) as saga:
        async with stage("create.record", container=new.id):
            made: exec_pb2.CreateContainerResponse = await services.execd.call(
                services.containers.CreateContainer,
                exec_pb2.CreateContainerRequest(
                    id=new.id, name=new.name, owner=owner, spec=spec, extensions=extensions
                ),
            )
        saga.undo("create.undo_record", lambda: _drop_record(services, new.id))
        saga.undo("create.undo_rootfs", lambda: drop_snapshot(services, new.id))
        async with stage("create.rootfs"):
            prepared: image_pb2.PrepareSnapshotResponse = await services.imaged.call(
                services.snapshots.PrepareSnapshot, root
            )
        mounts: list[types_pb2.MountSpec] = []
        if plan.images:
            saga.undo("create.undo_image_mounts", lambda: image_mounts.drop(services, new.id, plan.images))
            mounts += await image_mounts.make(services, new.id, plan.images)
        if plan.volumes:
            saga.undo("create.undo_volumes", lambda: volumes.remove(services, new.id, volumes.own(plan)))
            async with stage("create.volumes", count=len(plan.volumes)):
                mounts += await volumes.make(services, new.id, plan)
        if mounts:
            mounts = volumes.in_order([*spec.mounts, *mounts])
        async with stage("create.complete"):
            completed: exec_pb2.CompleteContainerResponse = await services.execd.call(
                services.containers.CompleteContainer,
                exec_pb2.CompleteContainerRequest(id=new.id, rootfs=prepared.snapshot.mounts, mounts=mounts),
            )
    return Created(completed.container, tuple(made.warnings))


async def find_image(services: Services, name: str) -> image_pb2.Image:
    """The image called ``name``, with its config. NotFound, reason NO_SUCH_IMAGE."""
    try:
        found: image_pb2.GetImageResponse = await services.imaged.call(
            services.images.GetImage, image_pb2.GetImageRequest(namespace=NAMESPACE, image=name)
        )
    except NotFound as error:
        raise NotFound(error.message, reason="NO_SUCH_IMAGE", field="image") from error
    return found.image


def planned(new: NewContainer, image: image_pb2.Image) -> engine_pb2.ContainerPlan:
    """The plan with the volumes and ports that the image declares."""
    plan = engine_pb2.ContainerPlan()
    plan.CopyFrom(new.plan)
    config = image_config.parse(image.config)
    volumes.add_declared(plan, config.volumes or (), new.spec.mounts, new.volume_labels)
    ports = [port.lower() for port in config.exposed_ports or () if _PORT.fullmatch(port.lower())]
    exposed = {port if "/" in port else f"{port}/tcp" for port in ports}
    plan.exposed_ports[:] = sorted(exposed.union(plan.exposed_ports))
    return plan


def merged(new: NewContainer, image: image_pb2.Image) -> exec_pb2.ContainerSpec:
    """The spec with the image's defaults where nothing was given. InvalidArgument where nothing is to be run."""
    config = image_config.parse(image.config)
    spec = exec_pb2.ContainerSpec()
    spec.CopyFrom(new.spec)
    process = spec.process
    entrypoint, command = new.entrypoint, new.command
    if entrypoint is None:
        entrypoint = tuple(part.encode() for part in config.entrypoint or [])
        if command is None:
            command = tuple(part.encode() for part in config.cmd or [])
    # A given entrypoint drops the image's command, as Docker does.
    process.args[:] = [*entrypoint, *(command or ())]
    if not process.args:
        raise InvalidArgument("no command specified", reason="NO_COMMAND", field="spec.process.args")
    process.env[:] = image_config.merge_env(config.env, list(process.env))
    process.user = process.user or config.user or ""
    process.cwd = process.cwd or (config.working_dir or "").encode()
    spec.stop_signal = spec.stop_signal or config.stop_signal or ""
    if config.healthcheck is not None:
        _merge_health(spec.health_check, config.healthcheck)
    for key, value in (config.labels or {}).items():
        if key not in spec.labels:
            spec.labels[key] = value
    spec.image = spec.image or new.image
    spec.image_id = image.id
    return spec


def _merge_health(check: exec_pb2.HealthCheck, image: image_config.Health) -> None:
    """What was not given is the image's."""
    if not check.test:
        check.test.extend(word.encode("utf-8", "surrogatepass") for word in image.test or ())
    for name in ("interval", "timeout", "start_period", "start_interval"):
        duration, nanoseconds = getattr(check, name), getattr(image, name)
        if nanoseconds > 0 and not duration.ToNanoseconds():
            duration.FromNanoseconds(nanoseconds)
    check.retries = check.retries or max(image.retries, 0)


async def _drop_record(services: Services, id_: str) -> None:
    for method, request in (
        (services.containers.BeginRemove, exec_pb2.BeginRemoveRequest(id=id_, force=True)),
        (services.containers.FinishRemove, exec_pb2.FinishRemoveRequest(id=id_)),
    ):
        try:
            await services.execd.call(method, request)
        except NotFound:
            return


async def drop_snapshot(services: Services, id_: str) -> None:
    await services.imaged.call(services.snapshots.RemoveSnapshot, image_pb2.RemoveSnapshotRequest(key=id_))
