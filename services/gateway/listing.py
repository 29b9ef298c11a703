"""Whole lists of images, networks and containers, page by page, and which container uses which image.

``deadline`` is in seconds and holds for each page. A read for a client goes through the projection; what is to be acted
upon asks the owner itself.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from chassis.client import CALL_TIMEOUT
from coordinator import image_mounts
from coordinator.coordinator import is_alive
from coordinator.listing import everyones_containers as containers
from coordinator.listing import pages
from coordinator.services import NAMESPACE, Services
from gateway.engine import Engine
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2
from pier.network.v1 import network_pb2

__all__ = ["CONTAINERS", "containers", "image", "images", "networks", "seen_containers", "uses"]

_PAGE: Final = 100
_NETWORKS_PAGE: Final = 200
_FIRST: Final = 2.0
"""Seconds that the first list may take: it is all of them, and there is nothing yet to answer with in its place."""
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


async def networks(engine: Engine) -> list[network_pb2.Network]:
    """All networks, by name."""
    return await engine.projection.read("networks", lambda deadline: _networks(engine.services, deadline))


async def seen_containers(engine: Engine) -> list[exec_pb2.Container]:
    """All containers, for a client to read."""
    return await engine.projection.read(CONTAINERS, engine.containers.now, _FIRST)


async def uses(services: Services, deadline: float = CALL_TIMEOUT) -> list[image_pb2.ImageUse]:
    """Every use of an image by a container, of which it may have further ones mounted."""
    return [
        image_pb2.ImageUse(image_id=image, container_id=container.id, running=is_alive(container))
        for container in await containers(services, deadline)
        for image in (container.spec.image_id, *image_mounts.used(container))
    ]


async def _images(services: Services, deadline: float) -> list[image_pb2.Image]:
    call = partial(services.imaged.call, services.images.ListImages, timeout=deadline)
    asked = pages(call, image_pb2.ListImagesRequest, "images", namespace=NAMESPACE, page_size=_PAGE)
    return [each async for each in asked]


async def _networks(services: Services, deadline: float) -> list[network_pb2.Network]:
    call = partial(services.netd.call, services.networks.ListNetworks, timeout=deadline)
    asked = pages(call, network_pb2.ListNetworksRequest, "networks", namespace=NAMESPACE, page_size=_NETWORKS_PAGE)
    return sorted([each async for each in asked], key=lambda network: network.name)
