"""POST /containers, /images, /networks, /volumes, /build/prune: what nothing uses goes, and what that freed is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web

from chassis.errors import Conflict, NotFound
from chassis.ids import NetworkId
from coordinator.services import NAMESPACE
from coordinator.volumes import users
from gateway import listing, reads
from gateway.rest import container_sizes, image_filters, image_json
from gateway.rest.call import Call
from gateway.rest.filters import Filters
from gateway.rest.mount_settings import ANONYMOUS
from gateway.rest.routes import Routes
from gateway.rest.versions import Version
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2
from pier.network.v1 import network_pb2

_ENDED: Final = (
    exec_pb2.CONTAINER_STATE_CREATED, exec_pb2.CONTAINER_STATE_EXITED, exec_pb2.CONTAINER_STATE_DEAD,
)
_ANONYMOUS_ALONE_SINCE: Final = Version(1, 42)

routes: Final = Routes()


@routes.post("/containers/prune")
async def prune_containers(call: Call) -> web.StreamResponse:
    """Those that do not run. One that was started or removed meanwhile is left out."""
    filters = call.filters("label", "label!", "until")
    wanted = [
        each for each in await listing.containers(call.engine.services)
        if each.status.state in _ENDED and _passes(filters, each.spec.labels, each.created_at.seconds)
    ]
    sizes = await container_sizes.of(call.engine, wanted)
    deleted = []
    for each in wanted:
        try:
            await call.engine.coordinator.remove(each.id)
        except (NotFound, Conflict):
            continue
        deleted.append(each.id)
    freed = sum(sizes[id_]["SizeRw"] for id_ in deleted)
    return call.json({"ContainersDeleted": deleted or None, "SpaceReclaimed": freed})


@routes.post("/networks/prune")
async def prune_networks(call: Call) -> web.StreamResponse:
    """Those that were made by somebody and have no endpoint."""
    filters = call.filters("label", "label!", "until")
    services = call.engine.services
    deleted = []
    for each in await listing.networks(call.engine):
        if each.predefined or each.endpoint_count:
            continue
        if not _passes(filters, each.spec.labels, each.created_at.seconds):
            continue
        try:
            await services.netd.call(
                services.networks.RemoveNetwork,
                network_pb2.RemoveNetworkRequest(namespace=NAMESPACE, network=NetworkId(each.id)),
            )
        except (NotFound, Conflict):
            continue
        deleted.append(each.name)
    return call.json({"NetworksDeleted": deleted or None})


@routes.post("/volumes/prune")
async def prune_volumes(call: Call) -> web.StreamResponse:
    """Those that no container has mounted: since API 1.42 the anonymous ones alone, unless ``all`` is asked for."""
    filters = call.filters("all", "label", "label!")
    services = call.engine.services
    named_too = filters.boolean("all", call.version < _ANONYMOUS_ALONE_SINCE)
    containers = await listing.containers(services)
    deleted, freed = [], 0
    for each in await reads.volumes(call.engine):
        if users(each, containers) or not (named_too or ANONYMOUS in each.labels):
            continue
        if not _passes(filters, each.labels, 0):
            continue
        answer: image_pb2.RemoveVolumeResponse = await services.imaged.call(
            services.volumes.RemoveVolume, image_pb2.RemoveVolumeRequest(namespace=NAMESPACE, name=each.name)
        )
        deleted.append(each.name)
        freed += answer.freed_bytes
    return call.json({"VolumesDeleted": deleted, "SpaceReclaimed": freed})


@routes.post("/images/prune")
async def prune_images(call: Call) -> web.StreamResponse:
    """Those that no container uses: without a name, or with ``dangling=false`` any."""
    filters = call.filters("dangling", "label", "label!", "until")
    services = call.engine.services
    nameless = filters.boolean("dangling", True)
    uses = await listing.uses(services)
    used = {use.image_id for use in uses}
    report: list[dict[str, str]] = []
    freed = 0
    for each in await listing.images(call.engine):
        if each.id in used or (nameless and (each.familiar or image_json.familiar_digests(each))):
            continue
        if not _passes(filters, each.labels, each.created_at.seconds):
            continue
        try:
            answer: image_pb2.RemoveImageResponse = await services.imaged.call(
                services.images.RemoveImage,
                image_pb2.RemoveImageRequest(namespace=NAMESPACE, image=each.id, force=True, uses=uses),
            )
        except (NotFound, Conflict):
            continue
        report += image_json.removed(answer.removed)
        freed += answer.freed_bytes
    return call.json({"ImagesDeleted": report or None, "SpaceReclaimed": freed})


def _passes(filters: Filters, labels: Any, created: int) -> bool:
    """``created`` in seconds of the epoch."""
    until: Iterable[str] = filters.get("until")
    return (
        filters.labels(labels) and filters.without_labels(labels)
        and all(created < image_filters.moment(text) for text in until)
    )
