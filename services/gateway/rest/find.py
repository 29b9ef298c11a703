"""Looking a container up by what the client calls it, for a verb (now) or a read (by the projection)."""

from __future__ import annotations

from chassis.errors import NotFound, Unavailable
from coordinator.services import NAMESPACE
from gateway.projection import tell_stale
from gateway.rest.call import Call
from gateway.rest.listing import CONTAINERS
from pier.exec.v1 import exec_pb2


async def find_container(call: Call, name: str) -> exec_pb2.Container:
    """For a verb: execd's own answer. NotFound in Docker's words."""
    try:
        return await call.engine.coordinator.get(name)
    except NotFound as error:
        raise no_such(name) from error


async def read_container(call: Call, name: str) -> exec_pb2.Container:
    """For a read: execd's answer, or the last known."""
    services = call.engine.services

    async def ask(deadline: float) -> exec_pb2.Container:
        found: exec_pb2.GetContainerResponse = await services.execd.call(
            services.containers.GetContainer,
            exec_pb2.GetContainerRequest(namespace=NAMESPACE, container=name), timeout=deadline,
        )
        return found.container

    try:
        return await call.engine.projection.read(f"container:{name}", ask)
    except NotFound as error:
        raise no_such(name) from error
    except Unavailable:
        known = call.engine.projection.last(CONTAINERS)
        found = _among(known[1], name) if known else None
        if known is None or found is None:
            raise
        tell_stale(known[0])
        return found


def _among(containers: list[exec_pb2.Container], name: str) -> exec_pb2.Container | None:
    """As execd looks it up: by id, by name, by unique prefix of the id."""
    for each in containers:
        if name == each.id or name.removeprefix("/") == each.name:
            return each
    found = [each for each in containers if each.id.startswith(name)]
    return found[0] if len(found) == 1 else None


def no_such(name: str) -> NotFound:
    return NotFound(f"No such container: {name}", reason="NO_SUCH_CONTAINER")
