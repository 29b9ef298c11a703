"""Volumes of a container: made and filled with its creation, found in use, removed with it where they were its own."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence

from chassis.errors import Conflict, InvalidArgument, NotFound
from chassis.ids import new_id
from chassis.stages import stage
from coordinator.listing import containers, everyones_containers
from coordinator.plans import plan_of
from coordinator.services import NAMESPACE, Services
from pier.engine.v1 import engine_pb2
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2
from pier.types.v1 import types_pb2


def add_declared(
    plan: engine_pb2.ContainerPlan, targets: Iterable[str], mounts: Iterable[types_pb2.MountSpec],
    labels: Mapping[str, str],
) -> None:
    """An anonymous volume for each path that the image declares one for, unless something else is mounted there."""
    taken = {mount.target for mount in mounts} | {each.target for each in plan.volumes}
    taken |= {each.target for each in plan.images}
    for target in sorted(targets):
        path = posixpath.normpath(b"/" + target.encode("utf-8", "surrogatepass").lstrip(b"/"))
        if path != b"/" and path not in taken:
            taken.add(path)
            plan.volumes.add(name=new_id(), target=path, anonymous=True, labels=labels)


async def make(services: Services, id_: str, plan: engine_pb2.ContainerPlan) -> list[types_pb2.MountSpec]:
    """Make container ``id_``'s volumes where they are missing, fill the empty ones from its root file system, and say
    how they are mounted."""
    made = []
    for each in plan.volumes:
        owner = services.owner(id_) if each.anonymous else services.volume_owner(each.name)
        created: image_pb2.CreateVolumeResponse = await services.imaged.call(
            services.volumes.CreateVolume,
            image_pb2.CreateVolumeRequest(
                name=each.name, owner=owner, driver=each.driver, options=each.options, labels=each.labels
            ),
        )
        if not each.no_copy and not each.subpath:
            async with stage("create.fill_volume", volume=each.name):
                await services.imaged.call(
                    services.volumes.FillVolume,
                    image_pb2.FillVolumeRequest(namespace=NAMESPACE, name=each.name, snapshot=id_, path=each.target),
                    timeout=600,
                )
        spec = types_pb2.MountSpec()
        spec.CopyFrom(created.volume.mount)
        spec.target, spec.subpath = each.target, each.subpath
        if each.read_only and "ro" not in {option.key for option in spec.options}:
            spec.options.add(key="ro")
        made.append(spec)
    return made


def in_order(mounts: Iterable[types_pb2.MountSpec]) -> list[types_pb2.MountSpec]:
    """What lies below another mount's target comes after it."""
    return sorted(mounts, key=lambda mount: mount.target.rstrip(b"/").count(b"/"))


def own(plan: engine_pb2.ContainerPlan) -> list[str]:
    """Names of the volumes that were made for the container alone."""
    return [each.name for each in plan.volumes if each.anonymous]


def users(volume: image_pb2.Volume, among: Iterable[exec_pb2.Container]) -> list[str]:
    """Ids of the containers, running or not, that have the volume or a part of it mounted, or that are being made
    with it: what is copied into it meanwhile must not be taken away."""
    inside = volume.path.rstrip(b"/") + b"/"
    return [
        container.id for container in among
        if any((mount.source.rstrip(b"/") + b"/").startswith(inside) for mount in container.spec.mounts)
        or volume.name in _planned(container)
    ]


async def remove_unused(services: Services, name: str) -> int:
    """Remove the volume; the bytes that this freed. NotFound; Conflict (IN_USE) where a container has it."""
    found: image_pb2.GetVolumeResponse = await services.imaged.call(
        services.volumes.GetVolume, image_pb2.GetVolumeRequest(namespace=NAMESPACE, name=name))
    everything = await everyones_containers(services)
    if ids := users(found.volume, everything):
        raise Conflict(f"remove {name}: volume is in use - [{', '.join(ids)}]", reason="IN_USE", field="name")
    removed: image_pb2.RemoveVolumeResponse = await services.imaged.call(
        services.volumes.RemoveVolume, image_pb2.RemoveVolumeRequest(namespace=NAMESPACE, name=name))
    return removed.freed_bytes


def _planned(container: exec_pb2.Container) -> set[str]:
    try:
        return {each.name for each in plan_of(container).volumes}
    except InvalidArgument:
        return set()


async def remove(services: Services, id_: str, names: Sequence[str]) -> None:
    """Remove those volumes of container ``id_`` that no other has mounted."""
    if not names:
        return
    others = [each async for each in containers(services) if each.id != id_]
    for name in names:
        try:
            found: image_pb2.GetVolumeResponse = await services.imaged.call(
                services.volumes.GetVolume, image_pb2.GetVolumeRequest(namespace=NAMESPACE, name=name)
            )
        except NotFound:
            continue
        if not users(found.volume, others):
            await services.imaged.call(
                services.volumes.RemoveVolume, image_pb2.RemoveVolumeRequest(namespace=NAMESPACE, name=name)
            )
