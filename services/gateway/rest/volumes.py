"""Volumes: list, create, inspect, delete. imaged has them, execd knows which containers use them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web

from chassis.errors import InvalidArgument, NotFound, Unavailable, Unimplemented
from chassis.ids import new_id
from coordinator.services import NAMESPACE
from coordinator.volumes import remove_unused, users
from gateway import listing, reads
from gateway.engine import Engine
from gateway.rest import wire
from gateway.rest.call import Call
from gateway.rest.mount_settings import ANONYMOUS, volume_name
from gateway.rest.routes import Routes
from pier.image.v1 import image_pb2 as pb

routes: Final = Routes()

_AT_ONCE: Final = 4
_FILTERS: Final = ("dangling", "driver", "label", "name")


@routes.get("/volumes")
async def list_(call: Call) -> web.StreamResponse:
    filters = call.filters(*_FILTERS)
    dangling = filters.boolean("dangling")
    containers = [] if dangling is None else await listing.seen_containers(call.engine)
    return call.json({
        "Volumes": [
            as_json(volume) for volume in await reads.volumes(call.engine)
            if filters.pattern("name", volume.name) and filters.exact("driver", volume.driver)
            and filters.labels(volume.labels) and (dangling is None or dangling != bool(users(volume, containers)))
        ],
        "Warnings": None,
    })


@routes.post("/volumes/create")
async def create(call: Call) -> web.StreamResponse:
    services, body = call.engine.services, await call.body()
    if body.object("ClusterVolumeSpec").document:
        raise Unimplemented("volume: ClusterVolumeSpec is not supported yet", field="ClusterVolumeSpec")
    name, labels = body.text("Name"), body.string_map("Labels")
    if name:
        volume_name(name, "Name")
    else:
        name, labels = new_id(), {**labels, ANONYMOUS: ""}
    driver = body.text("Driver") or "local"
    try:
        answer: pb.CreateVolumeResponse = await services.imaged.call(
            services.volumes.CreateVolume, pb.CreateVolumeRequest(
                name=name, owner=services.volume_owner(name), driver=driver, options=body.string_map("DriverOpts"),
                labels=labels))
    except NotFound as error:
        if error.reason != "NO_DRIVER":
            raise
        raise NotFound(
            f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found', reason=error.reason,
            field="Driver") from error
    return call.json(as_json(answer.volume), 201)


@routes.get("/volumes/{name}")
async def inspect(call: Call) -> web.StreamResponse:
    return call.json(as_json(await _get(call.engine, call.path["name"])))


@routes.delete("/volumes/{name}")
async def delete(call: Call) -> web.StreamResponse:
    name = call.path["name"]
    try:
        await _get(call.engine, name)
        await remove_unused(call.engine.services, name)
    except NotFound:
        if not call.query.boolean("force"):
            raise
    return call.empty()


async def sizes(engine: Engine, volumes: Iterable[pb.Volume]) -> dict[str, int]:
    """Bytes on disk by name, of those that imaged can tell: reads their directories."""
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> int:
        try:
            async with turn:
                answer: pb.VolumeUsageResponse = await engine.services.imaged.call(
                    engine.services.volumes.VolumeUsage, pb.VolumeUsageRequest(namespace=NAMESPACE, name=name))
        except (NotFound, Unavailable, Unimplemented):
            return -1
        return answer.bytes

    names = [volume.name for volume in volumes]
    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


def as_json(volume: pb.Volume) -> dict[str, Any]:
    """The volume as Docker shows it."""
    return {
        "Name": volume.name, "Driver": volume.driver, "Mountpoint": wire.text(volume.path),
        "CreatedAt": wire.rfc3339(volume.created_at), "Labels": dict(volume.labels) or None, "Scope": "local",
        "Options": dict(volume.options) or None,
    }


async def _get(engine: Engine, name: str) -> pb.Volume:
    try:
        return await reads.get_volume(engine.services, name)
    except InvalidArgument as error:  # no name of a volume, so there is none: `docker inspect` asks here for anything
        raise NotFound(f"get {name}: no such volume", reason="NO_VOLUME", field="name") from error
