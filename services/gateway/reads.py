"""One container, network or volume, and all volumes, for a client to read: the owner's answer, or the last known."""

from __future__ import annotations

from functools import partial

from chassis.client import CALL_TIMEOUT
from chassis.errors import Conflict, InvalidArgument, Unavailable
from coordinator.listing import pages
from coordinator.services import NAMESPACE, Services
from gateway.engine import Engine
from gateway.listing import CONTAINERS
from gateway.projection import tell_stale
from pier.exec.v1 import exec_pb2
from pier.image.v1 import image_pb2
from pier.network.v1 import network_pb2


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


async def _volumes(services: Services, deadline: float) -> list[image_pb2.Volume]:
    call = partial(services.imaged.call, services.volumes.ListVolumes, timeout=deadline)
    return [each async for each in pages(call, image_pb2.ListVolumesRequest, "volumes", namespace=NAMESPACE)]
