"""Reads: containers, images, networks and volumes, whole lists page by page, and which container uses which image.

``deadline`` is in seconds and holds for each page. A read for a client goes through the projection; what is to be acted
upon asks the owner itself.
"""

from __future__ import annotations

from typing import Final

from chassis.client import CALL_TIMEOUT
from chassis.errors import Conflict, InvalidArgument, Unavailable
from coordinator.coordinator import is_alive
from coordinator.listing import everyones_containers as containers
from coordinator.services import NAMESPACE, Services
from gateway.engine import Engine
from gateway.projection import tell_stale
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2
from pier.network.v1 import network_pb2

__all__ = ["CONTAINERS", "container", "containers", "get_network", "get_volume", "image", "images", "network",
           "networks", "seen_containers", "uses", "volume", "volumes"]

_PAGE: Final = 100
_NETWORKS_PAGE: Final = 200
CONTAINERS: Final = "containers"
"""The projection's key of the list of all containers."""


async def images(engine: Engine) -> list[image_pb2.Image]:
    """All images, newest first, their configs left out."""
    return await engine.projection.read("images", lambda deadline: _images(engine.services, deadline))


async def image(engine: Engine, name: str) -> image_pb2.Image:
    """The image that ``name`` means, with its config. NotFound in Docker's words."""

    async def ask(deadline: float) -> image_pb2.Image:
        answer: image_pb2.GetImageResponse = await engine.services.imaged.call(
            engine.services.images.GetImage, image_pb2.GetImageRequest(namespace=NAMESPACE, image=name), deadline
        )
        return answer.image

    return await engine.projection.read(f"image:{name}", ask)


async def seen_containers(engine: Engine) -> list[exec_pb2.Container]:
    """All containers, for a client to read."""
    return await engine.projection.read(
        CONTAINERS, lambda deadline: containers(engine.services, deadline))


async def container(engine: Engine, name: str) -> exec_pb2.Container:
    """One of them, for a client to read: execd's answer, or what was last known of it."""

    async def ask(deadline: float) -> exec_pb2.Container:
        return await engine.coordinator.get(name, deadline=deadline)

    try:
        return await engine.projection.read(f"container:{name}", ask)
    except Unavailable:
        known = engine.projection.last(CONTAINERS)
        found = _among(known[1], name) if known else None
        if known is None or found is None:
            raise
        tell_stale(known[0])
        return found


def _among(known: list[exec_pb2.Container], name: str) -> exec_pb2.Container | None:
    """As execd looks it up: by id, by name, by unique prefix of the id."""
    for each in known:
        if name == each.id or name.removeprefix("/") == each.name:
            return each
    found = [each for each in known if each.id.startswith(name)]
    return found[0] if len(found) == 1 else None


async def networks(engine: Engine) -> list[network_pb2.Network]:
    """All networks by name, for a client to read."""
    return await engine.projection.read("networks", lambda deadline: _networks(engine.services, deadline))


async def network(engine: Engine, name: str) -> network_pb2.GetNetworkResponse:
    """One of them, for a client to read. NotFound; InvalidArgument for the beginning of several ids."""
    return await engine.projection.read(
        f"network:{name}", lambda deadline: get_network(engine.services, name, deadline))


async def get_network(services: Services, name: str, deadline: float = 5.0) -> network_pb2.GetNetworkResponse:
    """The same as netd knows it now."""
    try:
        answer: network_pb2.GetNetworkResponse = await services.netd.call(
            services.networks.GetNetwork, network_pb2.GetNetworkRequest(namespace=NAMESPACE, network=name), deadline)
    except Conflict as error:
        raise InvalidArgument(error.message, reason=error.reason, field=error.field) from error
    return answer


async def volumes(engine: Engine) -> list[image_pb2.Volume]:
    """All volumes, for a client to read."""
    return await engine.projection.read("volumes", lambda deadline: _volumes(engine.services, deadline))


async def volume(engine: Engine, name: str) -> image_pb2.Volume:
    """One of them, for a client to read. NotFound."""
    return await engine.projection.read(
        f"volume:{name}", lambda deadline: get_volume(engine.services, name, deadline))


async def get_volume(services: Services, name: str, deadline: float = CALL_TIMEOUT) -> image_pb2.Volume:
    """The volume as imaged knows it now. NotFound."""
    answer: image_pb2.GetVolumeResponse = await services.imaged.call(
        services.volumes.GetVolume, image_pb2.GetVolumeRequest(namespace=NAMESPACE, name=name), deadline)
    return answer.volume


async def uses(services: Services, deadline: float = CALL_TIMEOUT) -> list[image_pb2.ImageUse]:
    """Every use of an image by a container."""
    return [
        image_pb2.ImageUse(
            image_id=container.spec.image_id, container_id=container.id, running=is_alive(container)
        )
        for container in await containers(services, deadline)
    ]


async def _images(services: Services, deadline: float) -> list[image_pb2.Image]:
    found: list[image_pb2.Image] = []
    token = ""
    while True:
        page: image_pb2.ListImagesResponse = await services.imaged.call(
            services.images.ListImages,
            image_pb2.ListImagesRequest(namespace=NAMESPACE, page_size=_PAGE, page_token=token),
            deadline,
        )
        found += page.images
        token = page.next_page_token
        if not token:
            return found


async def _networks(services: Services, deadline: float) -> list[network_pb2.Network]:
    found: list[network_pb2.Network] = []
    token = ""
    while True:
        page: network_pb2.ListNetworksResponse = await services.netd.call(
            services.networks.ListNetworks,
            network_pb2.ListNetworksRequest(namespace=NAMESPACE, page_size=_NETWORKS_PAGE, page_token=token), deadline)
        found += page.networks
        token = page.next_page_token
        if not token:
            return sorted(found, key=lambda each: each.name)


async def _volumes(services: Services, deadline: float) -> list[image_pb2.Volume]:
    found: list[image_pb2.Volume] = []
    token = ""
    while True:
        page: image_pb2.ListVolumesResponse = await services.imaged.call(
            services.volumes.ListVolumes, image_pb2.ListVolumesRequest(namespace=NAMESPACE, page_token=token), deadline)
        found += page.volumes
        token = page.next_page_token
        if not token:
            return found
