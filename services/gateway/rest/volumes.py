"""Volumes, as far as imaged has them: where it has none yet, no name is one of a volume."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from chassis.errors import NotFound, Unimplemented
from chassis.ids import new_id
from coordinator.services import NAMESPACE
from gateway.engine import Engine
from gateway.rest import wire
from gateway.rest.call import Call
from gateway.rest.routes import Routes
from pier.image.v1 import image_pb2 as pb

routes: Final = Routes()

_FILTERS: Final = ("dangling", "driver", "label", "name")


@routes.get("/volumes")
async def list_(call: Call) -> web.StreamResponse:
    filters = call.filters(*_FILTERS)
    if "dangling" in filters:
        raise Unimplemented("volume list: the filter dangling is not supported yet", reason="NOT_BUILT",
                            field="filters")
    found = await call.engine.projection.read("volumes", lambda deadline: _all(call.engine, deadline))
    return call.json({
        "Volumes": [
            as_json(volume) for volume in found
            if filters.pattern("name", volume.name) and filters.exact("driver", volume.driver)
            and filters.labels(volume.labels)
        ],
        "Warnings": None,
    })


@routes.post("/volumes/create")
async def create(call: Call) -> web.StreamResponse:
    services, body = call.engine.services, await call.body()
    if body.object("ClusterVolumeSpec").document:
        raise Unimplemented("volume: ClusterVolumeSpec is not supported", field="ClusterVolumeSpec")
    name = body.text("Name") or new_id()
    answer: pb.CreateVolumeResponse = await services.imaged.call(services.volumes.CreateVolume, pb.CreateVolumeRequest(
        name=name, owner=services.owner(name), driver=body.text("Driver") or "local",
        options=body.string_map("DriverOpts"), labels=body.string_map("Labels")))
    return call.json(as_json(answer.volume), 201)


@routes.get("/volumes/{name}")
async def inspect(call: Call) -> web.StreamResponse:
    return call.json(as_json(await _get(call.engine, call.path["name"])))


@routes.delete("/volumes/{name}")
async def delete(call: Call) -> web.StreamResponse:
    services, name = call.engine.services, call.path["name"]
    try:
        await _get(call.engine, name)
    except NotFound:
        if not call.query.boolean("force"):
            raise
        return call.empty()
    await services.imaged.call(
        services.volumes.RemoveVolume, pb.RemoveVolumeRequest(namespace=NAMESPACE, name=name))
    return call.empty()


def as_json(volume: pb.Volume) -> dict[str, Any]:
    """The volume as Docker shows it."""
    return {
        "Name": volume.name, "Driver": volume.driver, "Mountpoint": wire.text(volume.path),
        "CreatedAt": wire.rfc3339(volume.created_at), "Labels": dict(volume.labels) or None, "Scope": "local",
        "Options": dict(volume.options) or None,
    }


async def _get(engine: Engine, name: str) -> pb.Volume:
    services = engine.services
    missing = NotFound(f"get {name}: no such volume", reason="NO_VOLUME", field="name")
    try:
        answer: pb.GetVolumeResponse = await services.imaged.call(
            services.volumes.GetVolume, pb.GetVolumeRequest(namespace=NAMESPACE, name=name))
    except Unimplemented as error:
        # An imaged that cannot make volumes has none: `docker inspect NAME` asks here too, and needs a plain no.
        raise missing from error
    except NotFound as error:
        raise missing from error
    return answer.volume


async def _all(engine: Engine, deadline: float) -> list[pb.Volume]:
    found: list[pb.Volume] = []
    token = ""
    while True:
        page: pb.ListVolumesResponse = await engine.services.imaged.call(
            engine.services.volumes.ListVolumes, pb.ListVolumesRequest(namespace=NAMESPACE, page_token=token), deadline)
        found += page.volumes
        token = page.next_page_token
        if not token:
            return found
